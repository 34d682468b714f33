import type { Clock } from "@godwit/core";

/** A clock whose sleeps are over at once, and count. */
export class InstantClock implements Clock {
  readonly sleeps: number[] = [];
  time = 0;

  now(): number {
    return this.time;
  }

  monotonic(): number {
    return this.time;
  }

  async sleep(ms: number, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    this.sleeps.push(ms);
    this.time += ms;
  }
}
