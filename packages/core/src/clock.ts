import { setTimeout as sleep } from "node:timers/promises";

/** Time as a parameter, so that tests can own it. */
export interface Clock {
  /** Wall-clock time, milliseconds since the Unix epoch. It may jump. */
  now(): number;
  /** Milliseconds from an arbitrary origin that never go back. */
  monotonic(): number;
  /** Resolves after `ms` milliseconds; rejects with `signal.reason` on abort. */
  sleep(ms: number, options?: { signal?: AbortSignal | undefined }): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, { signal } = {}) {
    signal?.throwIfAborted();
    try {
      await sleep(ms, undefined, signal ? { signal } : {});
    } catch (error) {
      throw signal?.aborted ? signal.reason : error;
    }
  },
};
