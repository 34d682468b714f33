import { ApiError } from "@godwit/api";

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
      return exitCode.notFound;
    case "refused":
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

export function codeOfError(error: unknown): ExitCode {
  if (error instanceof CliError) return error.code;
  if (error instanceof ApiError) return codeOfKind(error.problem.kind);
  if (error instanceof Error && (error.name === "AbortError" || error.name === "CancelledError")) return exitCode.cancelled;
  return exitCode.failed;
}
