import type { Clock } from "@godwit/core";
import { type Estimate, span } from "./forecast.ts";

/** For so long a measured rate is as good as one that is measured now, milliseconds. */
const freshMs = 5 * 60_000;

interface Rate {
  readonly bytesPerSecond: number;
  readonly at: number;
}

/** How fast guests changed memory when that was last measured. It spares a plan's moves from being measured twice. */
export class DirtyRates {
  readonly #clock: Clock;
  readonly #rates = new Map<string, Rate>();
  readonly #measuring = new Map<string, Promise<unknown>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  note(vmId: string, bytesPerSecond: number): void {
    const now = this.#clock.monotonic();
    for (const [id, { at }] of this.#rates) if (now - at > freshMs) this.#rates.delete(id);
    this.#rates.set(vmId, { bytesPerSecond, at: now });
  }

  /** Measures unless that was done of late, or is being done. What cannot be measured is left to the guest's past. */
  ahead(vmId: string, measure: () => Promise<{ readonly dirtyBytesPerSecond?: number }>): void {
    if (this.fresh(vmId) !== undefined || this.#measuring.has(vmId)) return;
    const done = measure()
      .then(({ dirtyBytesPerSecond }) => {
        if (dirtyBytesPerSecond !== undefined) this.note(vmId, dirtyBytesPerSecond);
      })
      .catch(() => undefined)
      .finally(() => this.#measuring.delete(vmId));
    this.#measuring.set(vmId, done);
  }

  /** Resolves once nobody measures it. */
  async settled(vmId: string): Promise<void> {
    await this.#measuring.get(vmId);
  }

  /** Undefined when nobody has measured it of late. */
  fresh(vmId: string): Estimate | undefined {
    const rate = this.#rates.get(vmId);
    const age = rate === undefined ? Infinity : this.#clock.monotonic() - rate.at;
    if (rate === undefined || age > freshMs) return undefined;
    return { value: rate.bytesPerSecond, text: age < 5_000 ? "measured for 1 s" : `measured for 1 s, ${span(age)} ago` };
  }
}
