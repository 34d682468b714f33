import { abortReason } from "@godwit/core";
import { StoreError, type StoreErrorKind } from "./blob-store.ts";

/** Failures of a line, of its name or of its other end: they may pass. */
const lineCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "ENETUNREACH",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETDOWN",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ERR_STREAM_PREMATURE_CLOSE",
  "ERR_SOCKET_CONNECTION_TIMEOUT",
  "UND_ERR_SOCKET",
  "REQUEST_SEND_ERROR",
  "PARSE_ERROR",
  "HPE_INVALID_CONSTANT",
]);
/** An abort that is not the caller's is the Azure SDK's word for a body that was cut. */
const lineNames = new Set(["TimeoutError", "NetworkingError", "AbortError"]);

/** What a status means where the service says no more than that. */
export function kindOfStatus(status: number): StoreErrorKind {
  if (status === 401 || status === 403) return "denied";
  if (status === 404) return "not-found";
  if (status === 408 || status === 409 || status === 429) return "unavailable";
  if (status === 501) return "unsupported";
  if (status === 507) return "no-space";
  return status >= 500 ? "unavailable" : "failed";
}

/** True for an error that came from the network and not from the service. */
export function isLineError(error: unknown): boolean {
  for (let one: unknown = error, depth = 0; one instanceof Error && depth < 5; one = one.cause, depth += 1) {
    const { code } = one as NodeJS.ErrnoException;
    if ((code !== undefined && lineCodes.has(code)) || lineNames.has(one.name)) return true;
    if (one instanceof AggregateError && one.errors.some(isLineError)) return true;
  }
  return false;
}

/** Runs one call on a service: throws the signal's reason after an abort, else what `map` makes of the error. */
export async function calling<T>(signal: AbortSignal, map: (error: unknown) => StoreError, body: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  try {
    const result = await body();
    signal.throwIfAborted();
    return result;
  } catch (error) {
    if (signal.aborted) throw abortReason(signal);
    throw error instanceof StoreError ? error : map(error);
  }
}

/** The parts as one, without a copy where there is just one. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

/**
 * Reads a body of at most `into.length` bytes into `into`; the bytes read. The rest of a longer one is not
 * awaited: `destroy` it.
 */
export async function fill(body: AsyncIterable<Uint8Array>, into: Uint8Array): Promise<number> {
  let at = 0;
  for await (const chunk of body) {
    const part = chunk.subarray(0, into.length - at);
    into.set(part, at);
    at += part.length;
    if (part.length < chunk.length) break;
  }
  return at;
}
