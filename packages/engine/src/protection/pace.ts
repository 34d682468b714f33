import { anySignal, type Clock } from "@godwit/core";
import type { WriteStats } from "../ports/backup.ts";
import { Budget, enoughRequests } from "./budget.ts";

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
  const { requests, totalMs } = since(from, to);
  return requests > 0 ? totalMs / requests : undefined;
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
/** Fewer writes between two looks are those of a guest that does nothing. */
const fewWrites = 5;

interface State {
  readonly first: WriteStats | undefined;
  last: WriteStats | undefined;
  slowest: number;
  writes: boolean;
}

export interface Pacing extends AsyncDisposable {
  felt(): Felt;
  /** Whether the guest has been writing lately, as far as is known. */
  writes(): boolean;
}

/** While it lives the pace follows the guest's writes; `felt` says what came of it. */
export async function pacing(options: PacingOptions): Promise<Pacing> {
  const { signal, stats } = options;
  const ended = new AbortController();
  const first = await stats(signal);
  const state: State = { first, last: first, slowest: Infinity, writes: true };
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
    writes: () => state.writes,
    async [Symbol.asyncDispose]() {
      ended.abort();
      await following;
    },
  };
}

async function follow({ signal, clock, pace, stats }: PacingOptions, beforeMs: number | undefined, state: State): Promise<void> {
  const budget = new Budget(beforeMs);
  let before = Infinity;
  let began = clock.monotonic();
  for (;;) {
    await clock.sleep(lookMs, { signal });
    const now = await stats(signal);
    // Nobody could tell: the next look is at all since the last one that did.
    if (!now) continue;
    const ms = clock.monotonic() - began;
    const { requests, totalMs } = state.last ? since(state.last, now) : nothing;
    const rate = budget.next({ ms, measured: pace.drain() / (ms / 1000), requests, totalMs });
    if (rate < before) state.slowest = Math.min(state.slowest, rate);
    pace.rate = before = rate;
    state.last = now;
    state.writes = requests >= fewWrites;
    began += ms;
  }
}

const nothing: WriteStats = { requests: 0, totalMs: 0 };

function since(from: WriteStats, to: WriteStats): WriteStats {
  return { requests: to.requests - from.requests, totalMs: to.totalMs - from.totalMs };
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
