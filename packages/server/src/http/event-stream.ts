import type { ServerResponse } from "node:http";
import { isCancelled, raceAbort } from "@godwit/core";
import type { StreamEvent } from "./contract.ts";

export interface EventStreamOptions {
  /** Silence after which a comment is sent, so that both ends notice a dead connection. */
  readonly heartbeatMs: number;
  /** A client that takes nothing for this long is cut off. */
  readonly stalledMs: number;
  readonly signal: AbortSignal;
}

/**
 * Sends events as `text/event-stream`. The next event is asked for only once the socket took the last one, so a
 * slow client costs one event of memory; what it missed meanwhile is for the source to fold together. Ends
 * quietly on abort; rejects when the source failed or the client stalled: the connection is then the caller's to cut.
 */
export async function sendEvents(
  response: ServerResponse,
  events: AsyncIterable<StreamEvent<unknown>>,
  options: EventStreamOptions,
): Promise<void> {
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });
  response.flushHeaders();
  const iterator = events[Symbol.asyncIterator]();
  try {
    let next = iterator.next();
    for (;;) {
      const first = await within(options.heartbeatMs, next, options.signal);
      if (first === undefined) {
        await write(response, ": beat\n\n", options);
        continue;
      }
      if (first.done) break;
      const { id, data } = first.value;
      await write(response, `${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`, options);
      next = iterator.next();
    }
  } catch (error) {
    if (!options.signal.aborted && !isCancelled(error)) throw error;
  } finally {
    response.end();
    await iterator.return?.();
  }
}

/** What `promise` gives, or undefined when that takes longer than `ms`. Rejects on abort. */
async function within<T>(ms: number, promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), ms);
  try {
    return await raceAbort(Promise.race([promise, late.promise]), signal);
  } finally {
    clearTimeout(timer);
  }
}

async function write(response: ServerResponse, text: string, { stalledMs, signal }: EventStreamOptions): Promise<void> {
  signal.throwIfAborted();
  if (response.write(text)) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  response.once("drain", resolve);
  const timer = setTimeout(() => reject(new Error(`the client took nothing for ${stalledMs / 1000} s`)), stalledMs);
  try {
    await raceAbort(promise, signal);
  } finally {
    clearTimeout(timer);
    response.removeListener("drain", resolve);
  }
}
