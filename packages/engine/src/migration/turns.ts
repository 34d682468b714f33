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
  readonly #turns = new Map<string, Semaphore>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Without a forecast it is sent within no time. */
  turn(destinationId: string, forecast?: Pick<Forecast, "totalMs" | "overheadMs">): TimedTurn {
    const sendMs = forecast ? forecast.totalMs - (forecast.overheadMs ?? 0) : 0;
    const turns = this.#turns.get(destinationId) ?? new Semaphore(1);
    this.#turns.set(destinationId, turns);
    return new Turn(turns, this.#clock, sendMs < shortSendMs ? "perform" : "switchover");
  }
}

class Turn implements TimedTurn {
  readonly before: SwitchoverTurn["before"];
  readonly #turns: Semaphore;
  readonly #clock: Clock;
  readonly #ended = new AbortController();
  #mine: Disposable | undefined;
  #waitedMs = 0;

  constructor(turns: Semaphore, clock: Clock, before: SwitchoverTurn["before"]) {
    this.#turns = turns;
    this.#clock = clock;
    this.before = before;
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
      const mine = await this.#turns.acquire({ signal: AbortSignal.any([signal, late.signal, this.#ended.signal]) });
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
    this.#ended.abort();
    this.#mine?.[Symbol.dispose]();
  }
}
