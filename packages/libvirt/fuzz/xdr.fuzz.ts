import assert from "node:assert/strict";
import { LibvirtError } from "../src/errors.ts";
import { qemuEvents, qemuProcedures } from "../src/protocol/generated/qemu.ts";
import { remoteEvents, remoteProcedures } from "../src/protocol/generated/remote.ts";
import { ErrorReply, StreamHole } from "../src/protocol/generated/types.ts";
import type { Codec } from "../src/xdr/codec.ts";
import { decode } from "../src/xdr/decoder.ts";
import { encode } from "../src/xdr/encoder.ts";
import { type Random, run } from "./random.ts";

/** Everything that a daemon may send us. */
const codecs = [
  ErrorReply,
  StreamHole,
  ...Object.values(remoteProcedures).map(({ result }) => result),
  ...Object.values(qemuProcedures).map(({ result }) => result),
  ...Object.values(remoteEvents).map(({ message }) => message),
  ...Object.values(qemuEvents).map(({ message }) => message),
] as unknown as readonly [Codec<unknown>, ...Codec<unknown>[]];

const small = [0, 1, 2, 3, 4, 7] as const;
const limits = [16_384, 16_385, 4_194_304, 4_194_305, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] as const;
const texts = [0x6162_6364, 0xc3a4_0000, 0xc328_0000, 0x6100_0000, 0xefbf_bd00] as const;

/** Words that lead far into a type (small counts, true), and limits, text and nonsense between them; sometimes cut. */
function input(random: Random): Buffer {
  const words = random.int(60);
  const bytes = Buffer.alloc(words * 4);
  for (let index = 0; index < words; index += 1) {
    const kind = random.int(10);
    const word = kind < 6 ? random.pick(small) : kind < 7 ? random.pick(limits) : kind < 9 ? random.pick(texts) : random.int(2 ** 32);
    bytes.writeUInt32BE(word, index * 4);
  }
  return bytes.subarray(0, Math.max(0, bytes.length - random.int(4)));
}

function attempt<T>(kind: LibvirtError["kind"], body: () => T): T | undefined {
  try {
    return body();
  } catch (error) {
    if (error instanceof LibvirtError && error.kind === kind) return undefined;
    throw error;
  }
}

function check(random: Random): void {
  const codec = random.pick(codecs);
  const decoded = attempt("protocol", () => ({ value: decode(codec, input(random)) }));
  if (!decoded) return;
  // What is accepted has one meaning: it survives being written again. (A text with a NUL is read, but not written.)
  const bytes = attempt("invalid-argument", () => encode(codec, decoded.value));
  if (bytes) assert.deepEqual(decode(codec, bytes), decoded.value);
}

/** No input makes a decoder throw anything but a protocol error, and what it accepts it also writes. */
export default function fuzz({ seconds, seed }: { seconds: number; seed: number }): Promise<{ cases: number }> {
  return run(seconds, seed, check);
}
