import { SshError } from "./errors.ts";

/** One word for a POSIX shell that stands for exactly `text`. */
export function shellQuote(text: string): string {
  if (text.includes("\0")) throw new SshError("config", "a command argument contains a NUL character, which no shell can pass on");
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A command line for a POSIX shell that runs `argv` as it is. */
export function shellCommand(argv: readonly string[]): string {
  if (argv.length === 0 || argv[0] === "") throw new SshError("config", "the command is empty");
  return argv.map(shellQuote).join(" ");
}
