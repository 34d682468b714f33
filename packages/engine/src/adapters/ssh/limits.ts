import { EngineError } from "../../model/errors.ts";

/** Of one command, both streams together. */
export const MAX_OUTPUT_BYTES: number = 1 << 20;
export const COMMAND_DEADLINE_MS = 20_000;

export function outputTooLong(argv: readonly string[]): EngineError {
  return new EngineError("invalid", `${argv[0] ?? ""} wrote more than ${MAX_OUTPUT_BYTES} bytes`);
}

export function tooSlow(argv: readonly string[]): EngineError {
  return new EngineError("timeout", `${argv[0] ?? ""} did not end in time on the host`);
}
