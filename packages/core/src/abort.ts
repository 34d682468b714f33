import { CancelledError } from "./errors.ts";

/** A signal that fires with any of `signals`; undefined entries are ignored. */
export function anySignal(...signals: readonly (AbortSignal | undefined)[]): AbortSignal {
  const given = signals.filter((signal) => signal !== undefined);
  return given.length === 1 ? given[0]! : AbortSignal.any(given);
}

/**
 * Runs `body` with a signal that also fires after `ms` milliseconds, with `timeoutError()` as its
 * reason; the timer is gone when `body` settles. `body` must honour the signal.
 */
export async function withDeadline<T>(
  ms: number,
  timeoutError: () => Error,
  signal: AbortSignal | undefined,
  body: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(timeoutError()), ms);
  try {
    return await body(anySignal(signal, deadline.signal));
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Waits for `promise`, but no longer than `signal` allows: rejects with `signal.reason` on abort while
 * the promise goes on (its late rejection is not "unhandled").
 */
export function raceAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  if (signal.aborted) {
    promise.catch(() => undefined);
    return Promise.reject(abortReason(signal));
  }
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(abortReason(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** What an aborted signal was aborted with, always an Error. */
export function abortReason(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new CancelledError(String(reason));
}
