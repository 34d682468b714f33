import { setImmediate as turn } from "node:timers/promises";
import { abortReason, type Clock } from "@godwit/core";

interface Sleeper {
  readonly at: number;
  wake(): void;
}

/** Lets everything that is ready run: promises, and file or socket callbacks of one turn of the loop. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await turn();
}

/** Time that moves only when a test says so. */
export class FakeClock implements Clock {
  #monotonic = 0;
  #wall = Date.parse("2026-01-01T00:00:00Z");
  readonly #sleepers = new Set<Sleeper>();

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** The wall clock is set; no time passes. */
  jump(ms: number): void {
    this.#wall += ms;
  }

  sleep(ms: number, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (signal?.aborted) return Promise.reject(abortReason(signal));
    return new Promise<void>((resolve, reject) => {
      const sleeper: Sleeper = {
        at: this.#monotonic + ms,
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal?.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      const onAbort = (): void => {
        this.#sleepers.delete(sleeper);
        if (signal) reject(abortReason(signal));
      };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Lets time pass; who wakes up on the way runs at its own moment. */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms;
    for (;;) {
      await settle();
      const next = [...this.#sleepers].toSorted((a, b) => a.at - b.at)[0];
      if (!next || next.at > end) break;
      this.#move(next.at);
      next.wake();
    }
    this.#move(end);
    await settle();
  }

  #move(to: number): void {
    if (to <= this.#monotonic) return;
    this.#wall += to - this.#monotonic;
    this.#monotonic = to;
  }
}
