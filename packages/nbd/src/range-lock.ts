import { raceAbort } from "@godwit/core";

interface Held {
  readonly start: number;
  readonly end: number;
  readonly released: PromiseWithResolvers<void>;
}

/** Holders of overlapping ranges [start, end) wait for each other; others do not. */
export class RangeLock {
  readonly #held = new Set<Held>();

  /** Waits until nobody holds any part of the range; dispose what it returns to let go. */
  async acquire(start: number, end: number, signal?: AbortSignal): Promise<Disposable> {
    for (;;) {
      signal?.throwIfAborted();
      const other = [...this.#held].find((held) => held.start < end && start < held.end);
      if (!other) break;
      await raceAbort(other.released.promise, signal);
    }
    const held: Held = { start, end, released: Promise.withResolvers() };
    this.#held.add(held);
    return {
      [Symbol.dispose]: () => {
        this.#held.delete(held);
        held.released.resolve();
      },
    };
  }
}
