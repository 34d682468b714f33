import { raceAbort } from "./abort.ts";

/** At most `limit` holders at once, first come first served. The limit may change while in use. */
export class Semaphore {
  #limit: number;
  #held = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get limit(): number {
    return this.#limit;
  }

  set limit(limit: number) {
    this.#limit = limit;
    this.#grant();
  }

  get held(): number {
    return this.#held;
  }

  /** Waits for a place; dispose what it returns to give the place back. Rejects with `signal.reason` on abort. */
  async acquire(options: { signal?: AbortSignal | undefined } = {}): Promise<Disposable> {
    options.signal?.throwIfAborted();
    const granted = Promise.withResolvers<void>();
    this.#waiting.push(granted.resolve);
    this.#grant();
    try {
      await raceAbort(granted.promise, options.signal);
    } catch (error) {
      const at = this.#waiting.indexOf(granted.resolve);
      if (at >= 0) this.#waiting.splice(at, 1);
      else this.#release();
      throw error;
    }
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.#release();
        held = false;
      },
    };
  }

  #release(): void {
    this.#held -= 1;
    this.#grant();
  }

  #grant(): void {
    while (this.#held < this.#limit) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.#held += 1;
      next();
    }
  }
}
