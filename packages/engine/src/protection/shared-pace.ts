import type { Clock } from "@godwit/core";

/** How long a rate counts before it is asked for again, and a wait lasts at most: a changed limit holds at once. */
const lookMs = 1000;
/** Reading that was not done is made up for so long. */
const burstMs = 250;

/** A rate that several captures share, and that may change while they wait. Bytes a second. */
export class SharedPace {
  readonly #clock: Clock;
  readonly #rateNow: () => Promise<number | undefined>;
  #rate: number | undefined;
  #asked: Promise<void> | undefined;
  #askedAt = -Infinity;
  #filledAt: number;
  #left = 0;

  constructor(clock: Clock, rateNow: () => Promise<number | undefined>) {
    this.#clock = clock;
    this.#rateNow = rateNow;
    this.#filledAt = clock.monotonic();
  }

  /** Resolves when the bytes may be read; a large read is owed by those that come after it. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#look();
      const rate = this.#fill();
      if (rate === undefined) return;
      if (this.#left >= 0) {
        this.#left -= bytes;
        return;
      }
      await this.#clock.sleep(Math.min(lookMs, Math.max(1, (-this.#left / rate) * 1000)), { signal });
    }
  }

  async #look(): Promise<void> {
    const now = this.#clock.monotonic();
    if (now - this.#askedAt >= lookMs) {
      this.#askedAt = now;
      this.#asked = this.#rateNow().then((rate) => void (this.#rate = rate));
    }
    await this.#asked;
  }

  #fill(): number | undefined {
    const now = this.#clock.monotonic();
    const ms = now - this.#filledAt;
    this.#filledAt = now;
    if (this.#rate === undefined) this.#left = 0;
    else this.#left = Math.min(this.#left + (this.#rate * ms) / 1000, (this.#rate * burstMs) / 1000);
    return this.#rate;
  }
}

/** What a capture's own pace and that of its group allow. */
export function together(shared: SharedPace | undefined, own: Pick<SharedPace, "take">): Pick<SharedPace, "take"> {
  return {
    async take(bytes, signal) {
      await shared?.take(bytes, signal);
      await own.take(bytes, signal);
    },
  };
}
