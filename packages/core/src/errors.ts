/** Facts that belong to an error: names, ids, paths, numbers. Printed as they are, never secret. */
export type ErrorContext = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/**
 * The base of every error that Godwit throws on purpose. Match on `kind`; the message says what, why
 * and the way out, and never repeats its cause: print errors with {@link describeError}.
 */
export class GodwitError<Kind extends string = string> extends Error {
  override readonly name: string = "GodwitError";
  readonly kind: Kind;
  readonly context: ErrorContext;

  constructor(kind: Kind, message: string, context: ErrorContext = {}, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
    this.context = context;
  }
}

/** Thrown when work ends because its `AbortSignal` fired. Never retried. */
export class CancelledError extends GodwitError<"cancelled"> {
  override readonly name = "CancelledError";
  constructor(message = "cancelled", options?: ErrorOptions) {
    super("cancelled", message, {}, options);
  }
}

/** True for whatever an abort throws: ours, the platform's `AbortError`, or a timeout's reason. */
export function isCancelled(error: unknown): boolean {
  return error instanceof CancelledError || (error instanceof Error && error.name === "AbortError");
}

/** Makes an Error of anything that was thrown. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** One line with the whole chain of causes, both halves of a `SuppressedError` included. */
export function describeError(thrown: unknown): string {
  const parts: string[] = [];
  for (let error: unknown = thrown, depth = 0; error !== undefined && depth < 8; depth += 1) {
    if (error instanceof SuppressedError) {
      return [...parts, `${describeError(error.error)} (and while cleaning up: ${describeError(error.suppressed)})`].join(": ");
    }
    if (error instanceof AggregateError && error.message === "") {
      return [...parts, error.errors.map(describeError).join("; ")].join(": ");
    }
    const { message, cause } = toError(error);
    if (message !== "" && !parts.includes(message)) parts.push(message);
    error = cause;
  }
  return parts.join(": ") || "unknown error";
}
