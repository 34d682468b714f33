import { BlockError, type BlockErrorKind, type ErrorContext } from "@godwit/core";
import type { NbdErrno } from "./protocol/constants.ts";

/**
 * Why, finer than `kind`:
 * `connect` no connection could be made · `closed` it ended, by either side · `tls` the TLS handshake or its
 * policy failed · `refused` the server declined an option · `unknown-export` it has no such export ·
 * `server` a request was answered with an error (`errno` says which) · `malformed` the peer broke the protocol ·
 * `usage` we were asked for what this connection cannot do.
 */
export type NbdReason = "connect" | "closed" | "tls" | "refused" | "unknown-export" | "server" | "malformed" | "usage";

/** The only error of this package besides an abort's own reason. */
export class NbdError extends BlockError {
  // BlockError's name has a literal type; the cast keeps the class assignable and the printed name right.
  override readonly name = "NbdError" as "BlockError";
  readonly reason: NbdReason;
  /** What the server answered, when `reason` is `server`. */
  readonly errno: NbdErrno | undefined;

  constructor(
    kind: BlockErrorKind,
    message: string,
    details: { readonly reason: NbdReason; readonly errno?: NbdErrno | undefined; readonly context?: ErrorContext },
    options?: ErrorOptions,
  ) {
    super(kind, message, { ...details.context, ...(details.errno === undefined ? {} : { errno: details.errno }) }, options);
    this.reason = details.reason;
    this.errno = details.errno;
  }
}

export function malformed(message: string, context?: ErrorContext): NbdError {
  return new NbdError("protocol", message, { reason: "malformed", ...(context ? { context } : {}) });
}

export function closed(message: string, context?: ErrorContext, cause?: unknown): NbdError {
  return new NbdError("io", message, { reason: "closed", ...(context ? { context } : {}) }, cause === undefined ? {} : { cause });
}

export function usage(kind: "unsupported" | "out-of-range", message: string, context?: ErrorContext): NbdError {
  return new NbdError(kind, message, { reason: "usage", ...(context ? { context } : {}) });
}

/** The kind of a request that the server answered with an error. */
export function kindOfErrno(errno: NbdErrno): BlockErrorKind {
  return errno === "ENOTSUP" || errno === "EOVERFLOW" ? "unsupported" : "io";
}
