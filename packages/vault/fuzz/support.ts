import { VaultError } from "../src/errors.ts";

export type Random = (below: number) => number;

/** Mulberry32: small, seeded, good enough to pick places. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const edges = [0, 1, 2, 0x7f, 0xff, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];

/** A copy with some bytes, numbers and lengths made hostile. */
export function mutate(bytes: Uint8Array, random: Random): Buffer {
  let out = Buffer.from(bytes);
  for (let edits = 1 + random(4); edits > 0 && out.length >= 4; edits -= 1) {
    // The counts and lengths stand at the front.
    const at = random(2) === 0 ? random(Math.min(out.length, 64)) : random(out.length);
    switch (random(5)) {
      case 0:
        out[at] = random(256);
        break;
      case 1:
        out.writeUInt32LE(edges[random(edges.length)]!, Math.min(at, out.length - 4));
        break;
      case 2:
        out = out.subarray(0, at);
        break;
      case 3:
        out = Buffer.concat([out.subarray(0, at), out.subarray(random(out.length))]);
        break;
      default:
        out[at]! ^= 1 << random(8);
    }
  }
  return Buffer.from(out);
}

/**
 * Feeds mutations of the samples to `parse` for a while. It may refuse with a `VaultError` and nothing else,
 * and never takes long: a bomb or a runaway count would.
 */
export async function feed(
  options: { readonly seconds: number; readonly seed: number },
  samples: readonly Uint8Array[],
  parse: (bytes: Buffer, random: Random) => unknown,
): Promise<{ cases: number }> {
  const random = randomOf(options.seed);
  const end = performance.now() + options.seconds * 1000;
  let cases = 0;
  for (; performance.now() < end; cases += 1) {
    if (cases % 1000 === 0) await new Promise(setImmediate);
    const bytes = mutate(samples[random(samples.length)]!, random);
    const started = performance.now();
    try {
      parse(bytes, random);
    } catch (error) {
      if (!(error instanceof VaultError)) throw new Error(`case ${cases}: ${bytes.toString("hex")}`, { cause: error });
    }
    const took = performance.now() - started;
    if (took > 1000) throw new Error(`case ${cases} took ${took.toFixed(0)} ms: ${bytes.toString("hex")}`);
  }
  return { cases };
}
