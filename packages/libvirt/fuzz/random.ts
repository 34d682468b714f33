/** Numbers that look random and come again with the same seed (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer from 0 to `below` - 1. */
  int(below: number): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  }

  pick<T>(from: readonly [T, ...T[]]): T {
    return from[this.int(from.length)] ?? from[0];
  }
}

/** Runs `check` with one seed after the other until the time is over; a finding names the seed that shows it again. */
export async function run(seconds: number, seed: number, check: (random: Random) => void): Promise<{ cases: number }> {
  const end = performance.now() + seconds * 1000;
  let cases = 0;
  while (performance.now() < end) {
    try {
      check(new Random(seed + cases));
    } catch (error) {
      throw new Error(`found with seed ${seed + cases}`, { cause: error });
    }
    cases += 1;
    // Others want to run, too: a signal that ends the fuzzing, a timer.
    if (cases % 1000 === 0) await new Promise(setImmediate);
  }
  return { cases };
}
