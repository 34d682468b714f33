import assert from "node:assert/strict";
import { LibvirtError } from "../src/errors.ts";
import { encodeHeader, FrameReader, overhead } from "../src/rpc/frame.ts";
import { type Random, run } from "./random.ts";

function message(random: Random): { readonly head: Buffer; readonly payload: Buffer } {
  const header = {
    program: random.pick([0x2000_8086, 0x2000_8087, 0x6b65_6570]),
    version: 1,
    procedure: random.int(500),
    type: random.int(7),
    serial: random.int(10),
    status: random.int(3),
  };
  const payload = Buffer.alloc(random.int(65), random.int(256));
  return { head: encodeHeader(header, payload.length), payload };
}

/** Pushes `bytes` in pieces of random sizes; resolves to the payloads and to how many bytes they and their headers had. */
function read(reader: FrameReader, bytes: Buffer, random: Random): { readonly payloads: readonly Buffer[]; readonly consumed: number } {
  const payloads: Buffer[] = [];
  let consumed = 0;
  for (let at = 0; at < bytes.length;) {
    const end = at + 1 + random.int(40);
    reader.push(bytes.subarray(at, end));
    at = end;
    for (let frame = reader.next(); frame; frame = reader.next()) {
      payloads.push(frame.payload);
      consumed += overhead + frame.payload.length;
    }
  }
  return { payloads, consumed };
}

function check(random: Random): void {
  const messages = Array.from({ length: 1 + random.int(5) }, () => message(random));
  const bytes = Buffer.concat(messages.flatMap(({ head, payload }) => [head, payload]));
  const damaged = random.int(2) === 1;
  if (damaged) {
    const at = random.int(bytes.length);
    bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.int(8)), at);
  }
  const reader = new FrameReader();
  try {
    const { payloads, consumed } = read(reader, bytes, random);
    assert.equal(consumed + reader.pending, bytes.length);
    if (!damaged)
      assert.deepEqual(
        payloads,
        messages.map(({ payload }) => payload),
      );
  } catch (error) {
    if (!damaged || !(error instanceof LibvirtError) || error.kind !== "protocol") throw error;
  }
}

/**
 * The reader gives back every message however it is cut, and for damaged ones either a protocol error or
 * messages: no other error, no byte lost.
 */
export default function fuzz({ seconds, seed }: { seconds: number; seed: number }): Promise<{ cases: number }> {
  return run(seconds, seed, check);
}
