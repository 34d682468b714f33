import { type ErrorContext, GodwitError } from "@godwit/core";
import type { Check } from "./reason.ts";

/**
 * - `not-found`, `ambiguous`: what a name or id stands for
 * - `invalid`: the request or file is wrong
 * - `conflict`: it contradicts what is (name taken, already running)
 * - `refused`: a check failed; `checks` has the reasons, nothing was changed
 * - `host-lost`: the host does not answer, so the truth is not known
 * - `hypervisor`: the hypervisor said no; its own error is the cause
 * - `interrupted`: the server ended in the middle; what was left has been undone or finished
 */
export type EngineErrorKind =
  | "not-found"
  | "ambiguous"
  | "invalid"
  | "conflict"
  | "refused"
  | "host-lost"
  | "hypervisor"
  | "timeout"
  | "interrupted";

export class EngineError extends GodwitError<EngineErrorKind> {
  override readonly name = "EngineError";
  readonly checks: readonly Check[];

  constructor(
    kind: EngineErrorKind,
    message: string,
    context: ErrorContext = {},
    options: ErrorOptions & { readonly checks?: readonly Check[] } = {},
  ) {
    super(kind, message, context, options);
    this.checks = options.checks ?? [];
  }
}

/** A refusal names every failed check, so that the admin mends all of them in one go. */
export function refusal(what: string, checks: readonly Check[]): EngineError {
  const failed = checks.filter((check) => check.verdict === "fail");
  return new EngineError("refused", `${what}: ${failed.map((check) => check.text).join("; ")}`, {}, { checks });
}
