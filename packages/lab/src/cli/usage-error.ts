/** The command line is wrong; its message says how. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
