import { anySignal, type Clock } from "@godwit/core";
import type { WriteStats } from "../ports/backup.ts";

/** How fast a capture may read, bytes a second. It lets `take` wait until what was read before is paid for. */
export class Pace {
  readonly #clock: Clock;
  readonly #limit: number;
  #rate: number;
  #freeAt = 0;
  #taken = 0;

  constructor(clock: Clock, limit: number = Infinity) {
    this.#clock = clock;
    this.#limit = limit;
    this.#rate = limit;
  }

  get rate(): number {
    return this.#rate;
  }

  /** Never above the limit. */
  set rate(rate: number) {
    this.#rate = Math.min(rate, this.#limit);
  }

  /** Bytes taken since this was last asked. */
  drain(): number {
    const taken = this.#taken;
    this.#taken = 0;
    return taken;
  }

  async take(bytes: number, signal: AbortSignal): Promise<void> {
    this.#taken += bytes;
    if (this.#rate === Infinity) return;
    const now = this.#clock.monotonic();
    const start = Math.max(now, this.#freeAt);
    this.#freeAt = start + (bytes / this.#rate) * 1000;
    if (start > now) await this.#clock.sleep(start - now, { signal });
  }
}

/** The mean of the guest's writes between two readings, milliseconds; undefined when there were none. */
export function meanWriteMs(from: WriteStats, to: WriteStats): number | undefined {
  const requests = to.requests - from.requests;
  return requests > 0 ? (to.totalMs - from.totalMs) / requests : undefined;
}

export interface Look {
  /** Bytes a second that are allowed now, and that were really read since the last look. */
  readonly rate: number;
  readonly measured: number;
  /** Mean of the guest's writes before the capture, and since the last look, milliseconds. */
  readonly beforeMs: number | undefined;
  readonly nowMs: number | undefined;
}

/** How much longer than before a guest's writes may take. */
const budget = 1.5;
/** Differences below this nobody notices, milliseconds. */
const unnoticedMs = 1;
/** Without any reading from before: what any guest puts up with, milliseconds. */
const anyGuestMs = 20;
/** A capture that does not get on at all holds its scratch space for ever, bytes a second. */
const slowest = 2 << 20;
/** Above this nothing is held back, bytes a second. */
const fastest = 2 ** 31;

/** The next rate: down at once when the guest's writes take too long, up step by step when they do not. */
export function nextRate({ rate, measured, beforeMs, nowMs }: Look): number {
  const allowedMs = beforeMs === undefined ? anyGuestMs : Math.max(beforeMs * budget, beforeMs + unnoticedMs);
  if (nowMs !== undefined && nowMs > allowedMs) return Math.max(slowest, Math.min(rate, measured) * 0.6);
  return rate * 1.25 > fastest ? Infinity : rate * 1.25;
}

export interface PacingOptions {
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly pace: Pace;
  /** Of the guest's writes since it started; undefined when nobody can tell. */
  readonly stats: (signal: AbortSignal) => Promise<WriteStats | undefined>;
}

/** What the guest felt. Milliseconds, bytes a second. */
export interface Felt {
  readonly writeBeforeMs?: number;
  readonly writeMs?: number;
  readonly slowedTo?: number;
}

const lookMs = 500;
const enoughRequests = 20;

/** While it lives the pace follows the guest's writes; `felt` says what came of it. */
export async function pacing(options: PacingOptions): Promise<AsyncDisposable & { felt(): Felt }> {
  const { signal, stats } = options;
  const ended = new AbortController();
  const first = await stats(signal);
  const state: { first: WriteStats | undefined; last: WriteStats | undefined; slowest: number } = { first, last: first, slowest: Infinity };
  const beforeMs = first && first.requests >= enoughRequests ? first.totalMs / first.requests : undefined;
  const following = follow({ ...options, signal: anySignal(signal, ended.signal) }, beforeMs, state).catch(() => undefined);
  return {
    felt: () => {
      const during = first && state.last && meanWriteMs(first, state.last);
      return {
        ...(beforeMs !== undefined && { writeBeforeMs: round(beforeMs) }),
        ...(during !== undefined && { writeMs: round(during) }),
        ...(state.slowest < Infinity && { slowedTo: Math.round(state.slowest) }),
      };
    },
    async [Symbol.asyncDispose]() {
      ended.abort();
      await following;
    },
  };
}

async function follow(
  { signal, clock, pace, stats }: PacingOptions,
  beforeMs: number | undefined,
  state: { last: WriteStats | undefined; slowest: number },
): Promise<void> {
  for (;;) {
    const began = clock.monotonic();
    await clock.sleep(lookMs, { signal });
    const now = await stats(signal);
    const seconds = (clock.monotonic() - began) / 1000;
    const nowMs = now && state.last && meanWriteMs(state.last, now);
    const before = pace.rate;
    pace.rate = nextRate({ rate: before, measured: pace.drain() / seconds, beforeMs, nowMs });
    if (pace.rate < before) state.slowest = Math.min(state.slowest, pace.rate);
    state.last = now;
  }
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
