import { describeError, GodwitError, isCancelled, type Json } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { JobError, JobRecord } from "./job.ts";

/** How a run ended, as it is written to the record. */
export type Outcome = Pick<JobRecord, "state" | "result" | "error">;

/** `kind` is the error's own where it has one, else `internal`; the message holds the whole chain of causes. */
export function jobError(thrown: unknown): JobError {
  const kind = thrown instanceof GodwitError ? thrown.kind : "internal";
  const checks = thrown instanceof EngineError && thrown.checks.length > 0 ? thrown.checks : undefined;
  return { kind, message: describeError(thrown), ...(checks ? { checks } : {}) };
}

/** A thrown cancellation counts as one only if somebody asked for it. */
export function failure(thrown: unknown, cancelRequested: boolean): Outcome {
  const cancelled = cancelRequested && isCancelled(thrown);
  return { state: cancelled ? "cancelled" : "failed", error: jobError(thrown) };
}

/** What a later server would read of it, so that the first attempt and a resumed one see the same. */
export function throughJson<T>(value: T): T {
  const text = JSON.stringify(value) as string | undefined;
  return (text === undefined ? undefined : (JSON.parse(text) as Json)) as T;
}
