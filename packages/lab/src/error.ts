import { GodwitError } from "@godwit/core";

/**
 * `not-root`, `missing` (a program, package or kernel feature the lab needs), `exists`, `not-found`,
 * `invalid` (what was asked for cannot be), `failed` (a command or step), `timeout`.
 */
export type LabErrorKind = "not-root" | "missing" | "exists" | "not-found" | "invalid" | "failed" | "timeout";

export class LabError extends GodwitError<LabErrorKind> {
  override readonly name = "LabError";
}
