/** One look at a guest and at the capture of it, since the look before. */
export interface Look {
  /** How long it is since, milliseconds. */
  readonly ms: number;
  /** Bytes a second that were really read. */
  readonly measured: number;
  /** The guest's writes that ended, and what they took together, milliseconds. */
  readonly requests: number;
  readonly totalMs: number;
}

/** How much longer than before a guest's writes may take. */
const factor = 1.5;
/** Differences below this nobody notices, milliseconds. */
const unnoticedMs = 1;
/** Without any reading from before: what any guest puts up with, milliseconds. */
const anyGuestMs = 20;
/** Nor does anybody when the writes wait for less than this share of the time beyond what is allowed. */
const unnoticedShare = 0.05;
/** Fewer writes, or less time, say nothing, unless the writes waited this long beyond what is allowed. Milliseconds. */
export const enoughRequests = 20;
const enoughMs = 1000;
const lostMs = 250;
/** What slowing down leaves of the rate, and what of it is left at last: a capture that crawls holds its scratch space for ever. */
const slower = 0.6;
const slowestShare = 0.25;
const slowest = 2 << 20;
const faster = 1.5;
/** So many steps down in vain, and it is not the capture that the guest waits for. */
const vainSteps = 2;
/** The writes' mean after these steps over that before them, from which on they were in vain. */
const vainShare = 0.8;

/**
 * How fast a capture may read, by what the guest's writes take. Slowing down is also an experiment: when the writes do
 * not get faster by it, then something else keeps the host busy, and what they take now is what they are measured by.
 */
export class Budget {
  #allowedMs: number;
  #rate = Infinity;
  #best = 0;
  #ms = 0;
  #requests = 0;
  #totalMs = 0;
  #slowed: { readonly fromMs: number; steps: number } | undefined;

  /** `beforeMs`: the mean of the guest's writes before the capture, if there were any. */
  constructor(beforeMs: number | undefined) {
    this.#allowedMs = allowed(beforeMs);
  }

  /** Bytes a second from now on; `Infinity`: as fast as it goes. */
  next({ ms, measured, requests, totalMs }: Look): number {
    this.#best = Math.max(this.#best, measured);
    this.#ms += ms;
    this.#requests += requests;
    this.#totalMs += totalMs;
    const over = this.#totalMs - this.#allowedMs * this.#requests;
    const known = this.#requests >= enoughRequests && this.#ms >= enoughMs;
    if (over <= this.#ms * unnoticedShare) this.#well();
    else if (known || over >= lostMs) this.#waiting(this.#totalMs / this.#requests, measured);
    else return this.#rate;
    this.#ms = 0;
    this.#requests = 0;
    this.#totalMs = 0;
    return this.#rate;
  }

  #well(): void {
    this.#slowed = undefined;
    this.#rate *= faster;
    if (this.#rate > 2 * this.#best) this.#rate = Infinity;
  }

  #waiting(ms: number, measured: number): void {
    this.#slowed ??= { fromMs: ms, steps: 0 };
    if (this.#slowed.steps >= vainSteps && ms > this.#slowed.fromMs * vainShare) {
      this.#allowedMs = allowed(ms);
      this.#slowed = undefined;
      this.#rate = Infinity;
      return;
    }
    const least = Math.max(slowest, this.#best * slowestShare);
    // A capture that did not read is not what the guest waited for.
    if (measured < least) return;
    this.#slowed.steps += 1;
    this.#rate = Math.max(least, Math.min(this.#rate, measured) * slower);
  }
}

function allowed(beforeMs: number | undefined): number {
  return beforeMs === undefined ? anyGuestMs : Math.max(beforeMs * factor, beforeMs + unnoticedMs);
}
