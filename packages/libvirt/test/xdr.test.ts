import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LibvirtError } from "../src/index.ts";
import { qemuEvents, qemuProcedures } from "../src/protocol/generated/qemu.ts";
import { remoteEvents, remoteProcedures } from "../src/protocol/generated/remote.ts";
import * as types from "../src/protocol/generated/types.ts";
import { type Codec, xdr } from "../src/xdr/codec.ts";
import { decode, Decoder, stringLimit } from "../src/xdr/decoder.ts";
import { encode, Encoder } from "../src/xdr/encoder.ts";
import { arbitrary, arbitraryShape, programs } from "./arbitraries.ts";

const isProtocol = (error: unknown): boolean => error instanceof LibvirtError && error.kind === "protocol";
const isInvalid = (error: unknown): boolean => error instanceof LibvirtError && error.kind === "invalid-argument";

function roundTrips(name: string, codec: Codec<unknown>, values: fc.Arbitrary<unknown>): void {
  fc.assert(
    fc.property(values, (value) => {
      const bytes = encode(codec, value);
      assert.equal(bytes.length % 4, 0, name);
      assert.deepEqual(decode(codec, bytes), value, name);
    }),
    { numRuns: 15 },
  );
}

test("every struct, union and enum of the description survives encode and decode", () => {
  const codecs = types as unknown as Record<string, Codec<unknown>>;
  let count = 0;
  for (const program of programs) {
    for (const { name } of [...program.structs, ...program.unions, ...program.enums]) {
      roundTrips(name, codecs[name]!, arbitrary({ kind: "named", name }));
      count += 1;
    }
  }
  assert.ok(count > 40);
});

test("the arguments, results and messages of every procedure survive encode and decode", () => {
  const procedures = { remote: remoteProcedures, qemu: qemuProcedures } as unknown as Record<
    string,
    Record<string, { number: number; args: Codec<unknown>; result: Codec<unknown> }>
  >;
  const events = { remote: remoteEvents, qemu: qemuEvents } as unknown as Record<
    string,
    Record<string, { number: number; message: Codec<unknown> }>
  >;
  for (const program of programs) {
    for (const call of program.calls) {
      const generated = procedures[program.name]![call.name]!;
      assert.equal(generated.number, call.number);
      roundTrips(`${call.name} args`, generated.args, arbitraryShape(call.args, false));
      roundTrips(`${call.name} result`, generated.result, arbitraryShape(call.result, true));
    }
    for (const event of program.events)
      roundTrips(event.name, events[program.name]![event.name]!.message, arbitraryShape(event.message, false));
  }
});

test("a message that was cut is refused wherever the cut is", () => {
  const stats = arbitrary({ kind: "named", name: "DomainStatsRecord" }) as fc.Arbitrary<types.DomainStatsRecord>;
  fc.assert(
    fc.property(stats, fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), (record, part) => {
      const bytes = encode(types.DomainStatsRecord, record);
      assert.throws(() => decode(types.DomainStatsRecord, bytes.subarray(0, Math.floor(bytes.length * part))), isProtocol);
    }),
  );
});

const words = (...values: readonly number[]): Buffer => Buffer.concat(values.map((value) => encode(xdr.u32, value)));

test("lengths and counts are checked before anything is allocated", () => {
  assert.throws(() => new Decoder(words(0xffff_ffff)).string(), /text of 4294967295, at most 4194304/);
  assert.throws(() => new Decoder(words(stringLimit)).string(), /4194304 bytes wanted, 0 left/);
  assert.throws(() => new Decoder(words(0xffff_ffff)).list(16_384, xdr.u32), /list of 4294967295, at most 16384/);
  assert.throws(() => new Decoder(words(16_384, 1)).list(16_384, xdr.u32), /list of 16384, but only 4 bytes left/);
  assert.throws(() => new Decoder(words(5)).bytes(4), isProtocol);
  assert.throws(() => new Decoder(words(65_536)).chars(65_536), isProtocol);
});

test("what XDR does not allow is refused", () => {
  assert.throws(() => new Decoder(words(2)).optional(xdr.u32), /2 is not a boolean/);
  assert.throws(() => new Decoder(Buffer.from("000000016100 0001".replace(" ", ""), "hex")).string(), /padding is not zero/);
  assert.throws(() => new Decoder(Buffer.from("00000002c3280000", "hex")).string(), /not UTF-8/);
  assert.throws(() => new Decoder(words(256)).charsFixed(1), /256 is not a character/);
  assert.throws(() => decode(xdr.u32, words(1, 2)), /4 bytes more/);
  assert.throws(() => decode(types.AuthType, words(9)), /AuthType has no value 9/);
  assert.throws(() => decode(types.TypedParamValue, words(8, 0)), /TypedParamValue has no case 8/);
});

test("a replacement character that was really sent is text", () => {
  assert.equal(decode(xdr.string, encode(xdr.string, "a\uFFFDb")), "a\uFFFDb");
});

test("characters are one word each, signed or not", () => {
  assert.deepEqual(new Decoder(words(2, 0xffff_ff80, 0xff)).chars(2), Uint8Array.of(0x80, 0xff));
  assert.equal(new Decoder(words(0x61, 0, 0x62)).cstringFixed(3), "a");
});

test("values that a type does not have are refused before anything is sent", () => {
  const to = new Encoder();
  const wrong: readonly (() => void)[] = [
    () => to.i32(2 ** 31),
    () => to.i32(0.5),
    () => to.u32(-1),
    () => to.u32(Number.NaN),
    () => to.i64(2n ** 63n),
    () => to.u64(-1n),
    () => to.string("a\0b"),
    () => to.string("\uD800"),
    () => to.string("x".repeat(stringLimit + 1)),
    () => to.uuid("not-a-uuid"),
    () => to.bytes(new Uint8Array(5), 4),
    () => to.bytesFixed(new Uint8Array(5), 4),
    () => to.chars(new Uint8Array(5), 4),
    () => to.cstringFixed("abcd", 4),
    () => to.list([1, 2], 1, xdr.u32),
  ];
  for (const write of wrong) assert.throws(write, isInvalid, write.toString());
});
