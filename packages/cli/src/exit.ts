import type { ApiError } from "@godwit/api";
import { GodwitError } from "@godwit/core";

/** What the command's exit code tells a script. */
export const exitCode = { done: 0, failed: 1, usage: 2, notFound: 3, refused: 4, cancelled: 130 } as const;
export type ExitCode = (typeof exitCode)[keyof typeof exitCode];

/** Ends the command with a message and a code. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly code: ExitCode;
  constructor(code: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The exit code for an error kind of the server (its problem details, or a job's error). */
export function codeOfKind(kind: string): ExitCode {
  switch (kind) {
    case "not-found":
    case "no-vault":
      return exitCode.notFound;
    case "refused":
    case "held":
    case "retained":
      return exitCode.refused;
    case "invalid":
    case "ambiguous":
      return exitCode.usage;
    case "cancelled":
      return exitCode.cancelled;
    default:
      return exitCode.failed;
  }
}

/** What the server answered, told by name: commands that need no server do not load its contract. */
export function apiProblem(error: unknown): ApiError["problem"] | undefined {
  return error instanceof Error && error.name === "ApiError" ? (error as ApiError).problem : undefined;
}

export function codeOfError(error: unknown): ExitCode {
  if (error instanceof CliError) return error.code;
  const problem = apiProblem(error);
  if (problem) return codeOfKind(problem.kind);
  if (error instanceof GodwitError) return codeOfKind(error.kind);
  if (error instanceof Error && (error.name === "AbortError" || error.name === "CancelledError")) return exitCode.cancelled;
  return exitCode.failed;
}
