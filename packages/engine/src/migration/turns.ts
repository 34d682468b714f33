import { type Clock, Semaphore } from "@godwit/core";
import type { Forecast } from "./forecast.ts";
import type { SwitchoverTurn } from "../ports/migration.ts";

/** Nobody waits longer for the others, milliseconds: a guest that is held back changes memory that has to be sent again. */
const patienceMs = 20_000;
/** Memory that is sent within this time is sent before anybody could ask whose turn it is; milliseconds. */
export const shortSendMs = 3000;

/** A turn that tells how long was waited for it. */
export interface TimedTurn extends SwitchoverTurn {
  readonly waitedMs: number;
}

/**
 * At most one guest at a time is in the last phase of its move to each destination: what is left of its memory is sent,
 * taken in, and the guest is let run. Several at once wait for each other's, standing still.
 */
export class Switchovers {
  readonly #clock: Clock;
  readonly #lanes = new Map<string, Lane>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Without a forecast it is sent within no time. */
  turn(destinationId: string, forecast?: Pick<Forecast, "totalMs" | "overheadMs">): TimedTurn {
    const sendMs = forecast ? forecast.totalMs - (forecast.overheadMs ?? 0) : 0;
    const lane = this.#lanes.get(destinationId) ?? { turns: new Semaphore(1), moves: 0 };
    this.#lanes.set(destinationId, lane);
    return new Turn(lane, this.#clock, sendMs < shortSendMs ? "perform" : "switchover");
  }
}

interface Lane {
  readonly turns: Semaphore;
  /** On their way to the destination. */
  moves: number;
}

class Turn implements TimedTurn {
  readonly before: SwitchoverTurn["before"];
  readonly #lane: Lane;
  readonly #clock: Clock;
  readonly #ended = new AbortController();
  #mine: Disposable | undefined;
  #waitedMs = 0;

  constructor(lane: Lane, clock: Clock, before: SwitchoverTurn["before"]) {
    this.#lane = lane;
    lane.moves += 1;
    this.#clock = clock;
    this.before = before;
  }

  get alone(): boolean {
    return this.#lane.moves === 1;
  }

  get waitedMs(): number {
    return this.#waitedMs;
  }

  async take(signal: AbortSignal): Promise<void> {
    const began = this.#clock.monotonic();
    const late = new AbortController();
    const over = new AbortController();
    this.#clock.sleep(patienceMs, { signal: over.signal }).then(
      () => late.abort(),
      () => undefined,
    );
    try {
      const mine = await this.#lane.turns.acquire({ signal: AbortSignal.any([signal, late.signal, this.#ended.signal]) });
      if (this.#ended.signal.aborted) mine[Symbol.dispose]();
      else this.#mine = mine;
    } catch (error) {
      signal.throwIfAborted();
      if (!late.signal.aborted && !this.#ended.signal.aborted) throw error;
    } finally {
      over.abort();
      this.#waitedMs += this.#clock.monotonic() - began;
    }
  }

  end(): void {
    if (!this.#ended.signal.aborted) this.#lane.moves -= 1;
    this.#ended.abort();
    this.#mine?.[Symbol.dispose]();
  }
}
