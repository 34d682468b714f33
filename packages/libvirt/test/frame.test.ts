import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { remoteEvents, remoteProcedures } from "../src/protocol/generated/remote.ts";
import { ErrorReply } from "../src/protocol/generated/types.ts";
import { encodeFrame, encodeHeader, type Frame, frameLimit, FrameReader, type Header, overhead } from "../src/rpc/frame.ts";
import { typedParams } from "../src/typed-params.ts";
import type { Codec } from "../src/xdr/codec.ts";
import { decode } from "../src/xdr/decoder.ts";

const directory = join(import.meta.dirname, "fixtures");

/** The bytes of a fixture, without its annotations. */
function fixture(name: string): Buffer {
  const text = readFileSync(join(directory, `${name}.hex`), "utf8");
  return Buffer.from(text.replaceAll(/#.*$/gm, "").replaceAll(/\s/g, ""), "hex");
}

function only(bytes: Buffer): Frame {
  const reader = new FrameReader();
  reader.push(bytes);
  const frame = reader.next();
  assert.ok(frame);
  assert.equal(reader.pending, 0);
  return frame;
}

const dom = { name: "vm-ä", uuid: "4dea22b3-1d52-d8f3-2516-782e98ab3fa0", id: 1 };

/** What libvirtd really sent and took. */
function captured<T>(name: string, codec: Codec<T>, value: T): void {
  test(`${name}: reads as what libvirtd meant, and writes as the same bytes`, () => {
    const bytes = fixture(name);
    const { header, payload } = only(bytes);
    assert.deepEqual(decode(codec, payload), value);
    assert.ok(encodeFrame(header, (to) => codec.write(to, value)).equals(bytes));
  });
}

captured("auth-list.reply", remoteProcedures.authList.result, ["none"]);
captured("list-all-domains.call", remoteProcedures.connectListAllDomains.args, { needResults: 1, flags: 0 });
captured("list-all-domains.reply", remoteProcedures.connectListAllDomains.result, { domains: [dom], ret: 1 });
captured("domain-state.reply", remoteProcedures.domainGetState.result, { state: 1, reason: 0 });
captured("lifecycle.event", remoteEvents.domainEventCallbackLifecycle.message, { callbackId: 0, msg: { dom, event: 3, detail: 0 } });

test("lookup.error, node-info.reply, all-domain-stats.reply and open.call read as what they are", () => {
  const error = decode(ErrorReply, only(fixture("lookup.error")).payload);
  assert.deepEqual([error.code, error.domain, error.message, error.str2, error.int1], [42, 12, "Domain not found", null, -1]);
  const node = decode(remoteProcedures.nodeGetInfo.result, only(fixture("node-info.reply")).payload);
  assert.deepEqual([node.model, node.memory, node.cpus, node.threads], ["i686", 3_145_728n, 16, 2]);
  const [stats] = decode(remoteProcedures.connectGetAllDomainStats.result, only(fixture("all-domain-stats.reply")).payload);
  assert.deepEqual(typedParams.decode(stats!.params), { "state.state": 1, "state.reason": 0 });
  assert.match(decode(remoteProcedures.connectOpen.args, only(fixture("open.call")).payload).name!, /^test:\/\//);
});

test("every fixture passes through the reader unchanged, however the bytes arrive", () => {
  const names = readdirSync(directory).map((file) => file.replace(/\.hex$/, ""));
  const frames = names.map(fixture);
  const stream = Buffer.concat(frames);
  fc.assert(
    fc.property(fc.array(fc.nat({ max: stream.length })), (cuts) => {
      const reader = new FrameReader();
      const seen: Buffer[] = [];
      let at = 0;
      for (const cut of [...cuts.toSorted((a, b) => a - b), stream.length]) {
        reader.push(stream.subarray(at, cut));
        at = cut;
        for (let frame = reader.next(); frame; frame = reader.next()) {
          seen.push(Buffer.concat([encodeHeader(frame.header, frame.payload.length), frame.payload]));
        }
      }
      assert.deepEqual(seen, frames);
      assert.equal(reader.pending, 0);
    }),
    { numRuns: 50 },
  );
});

test("headers survive encode and decode", () => {
  const fields = {
    program: fc.nat({ max: 0xffff_ffff }),
    version: fc.nat({ max: 0xffff_ffff }),
    procedure: fc.integer(),
    type: fc.integer({ min: 0, max: 6 }),
    serial: fc.nat({ max: 0xffff_ffff }),
    status: fc.integer({ min: 0, max: 2 }),
  };
  const header: fc.Arbitrary<Header> = fc.record(fields, { noNullPrototype: true });
  fc.assert(fc.property(header, (value) => assert.deepEqual(only(encodeHeader(value, 0)).header, value)));
});

const good: Header = { program: 0x2000_8086, version: 1, procedure: 1, type: 1, serial: 1, status: 0 };

test("a length that cannot be is refused as soon as it is known", () => {
  for (const length of [0, 1, 4, overhead - 1, frameLimit + 1, 0x7fff_ffff, 0xffff_ffff]) {
    const reader = new FrameReader();
    const word = Buffer.alloc(4);
    word.writeUInt32BE(length);
    reader.push(word);
    assert.throws(() => reader.next(), { kind: "protocol", context: { length } });
  }
  const reader = new FrameReader();
  reader.push(encodeHeader(good, frameLimit - overhead));
  assert.equal(reader.next(), undefined);
});

test("a type or status that does not exist is refused", () => {
  for (const header of [
    { ...good, type: 7 },
    { ...good, type: -1 },
    { ...good, status: 3 },
  ]) {
    assert.throws(() => only(encodeHeader(header, 0)), { kind: "protocol" });
  }
});

test("a message over the limit is not sent", () => {
  const large = "x".repeat(4_194_304);
  const write = (): Buffer =>
    encodeFrame(good, (to) => {
      for (let count = 0; count < 9; count += 1) to.string(large);
    });
  assert.throws(write, { kind: "invalid-argument" });
});
