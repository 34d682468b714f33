import type { Command } from "commander";
import type { Format } from "../../context.ts";
import { printableJson, printableLines } from "../../output/table.ts";
import type { Surroundings } from "../../root.ts";

/** What every vault command gets: no server, as a vault needs none. */
export interface VaultContext extends Pick<Surroundings, "env" | "out" | "err" | "signal"> {
  readonly format: Format;
}

/** How a vault is found and opened; each has an environment variable to stand for it. */
export interface AccessFlags {
  readonly vault?: string;
  readonly passphraseFile?: string;
  readonly keyFile?: string;
  readonly recoveryCodeFile?: string;
}

export function accessOptions(command: Command): Command {
  return command
    .option("--vault <location>", "the vault's directory or URL (or GODWIT_VAULT)")
    .option("--passphrase-file <path>", "file with the passphrase, - for standard input (or GODWIT_PASSPHRASE_FILE)")
    .option("--key-file <path>", "key file to open the vault with (or GODWIT_KEY_FILE)")
    .option("--recovery-code-file <path>", "file with a recovery code (or GODWIT_RECOVERY_CODE_FILE)");
}

/** Prints a value as the user asked: through `table` for people, whole for programs. */
export async function show<T>({ format, out }: Pick<VaultContext, "format" | "out">, value: T, table: (value: T) => string): Promise<void> {
  if (format === "table") return out.write(printableLines(table(value)));
  if (format === "json") return out.write(`${printableJson(value)}\n`);
  const { stringify } = await import("yaml");
  const text = stringify(value, { aliasDuplicateObjects: false });
  out.write(out.isTerminal ? printableLines(text) : text);
}
