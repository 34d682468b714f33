import { type Clock, raceAbort } from "@godwit/core";

/** Lets a loop sleep until there is work, or until the time is over. A nudge while nobody sleeps is kept. */
export class Nudge {
  #pending = Promise.withResolvers<void>();

  give(): void {
    this.#pending.resolve();
  }

  /** Rejects with `signal.reason` on abort. */
  async wait(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const slept = clock.sleep(ms, { signal: AbortSignal.any([signal, over.signal]) });
    try {
      await raceAbort(Promise.race([slept, this.#pending.promise]), signal);
    } finally {
      over.abort();
      slept.catch(() => undefined);
    }
    this.#pending = Promise.withResolvers<void>();
  }
}
