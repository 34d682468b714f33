import { CancelledError, raceAbort } from "@godwit/core";

interface Flight<T> {
  waiting: number;
  readonly controller: AbortController;
  readonly result: Promise<T>;
}

/**
 * Runs a task for whoever asks, one run at a time. Who asks while one is under way waits for the next one,
 * shared with all others who wait: every caller gets a result that was begun after it asked. A run that
 * nobody waits for any more is aborted.
 */
export class Coalesced<T> {
  readonly #task: (signal: AbortSignal) => Promise<T>;
  #current: Flight<T> | undefined;
  #next: Flight<T> | undefined;

  constructor(task: (signal: AbortSignal) => Promise<T>) {
    this.#task = task;
  }

  /** Rejects with `signal.reason` on abort, else as the task does. */
  async run(signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const flight = this.#current ? (this.#next ??= this.#depart(this.#current)) : (this.#current = this.#depart());
    flight.waiting += 1;
    try {
      return await raceAbort(flight.result, signal);
    } finally {
      flight.waiting -= 1;
      if (flight.waiting === 0 && flight === this.#current) flight.controller.abort(new CancelledError("nobody waits for it any more"));
    }
  }

  #depart(after?: Flight<T>): Flight<T> {
    const controller = new AbortController();
    const begin = async (): Promise<T> => {
      await after?.result.catch(() => undefined);
      try {
        if (flight.waiting === 0) throw new CancelledError("nobody waits for it any more");
        return await this.#task(controller.signal);
      } finally {
        this.#current = this.#next;
        this.#next = undefined;
      }
    };
    const flight: Flight<T> = { waiting: 0, controller, result: Promise.resolve().then(begin) };
    return flight;
  }
}
