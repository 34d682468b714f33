import type { Client } from "@godwit/api";
import { createRequire } from "node:module";
import type * as Yaml from "yaml";
import { type Column, printableJson, printableLines, renderTable } from "./output/table.ts";

export type Format = "table" | "json" | "yaml";

export interface Terminal {
  write(text: string): void;
  readonly isTerminal: boolean;
  readonly columns: number;
}

/** What every command gets: the server, where to write, and a signal that fires on Ctrl-C. */
export interface Context {
  readonly client: Client;
  readonly format: Format;
  readonly out: Terminal;
  readonly err: Terminal;
  readonly signal: AbortSignal;
}

/** Loaded by those who ask for it: it is a third of what a command loads. */
function yaml(): typeof Yaml {
  return createRequire(import.meta.url)("yaml") as typeof Yaml;
}

/** Prints a value as the user asked: through `table` for people, whole for programs. */
export function print<T>(context: Pick<Context, "format" | "out">, value: T, table: (value: T) => string): void {
  if (context.format === "json") context.out.write(`${printableJson(value)}\n`);
  else if (context.format === "table") context.out.write(printableLines(table(value)));
  else {
    const text = yaml().stringify(value, { aliasDuplicateObjects: false });
    context.out.write(context.out.isTerminal ? printableLines(text) : text);
  }
}

/** Prints a list; on the terminal, an empty one says so on standard error. */
export function printList<T>(context: Context, items: readonly T[], columns: readonly Column<T>[], none: string): void {
  print(context, items, (rows) => renderTable(columns, rows));
  if (items.length === 0 && context.format === "table" && context.err.isTerminal) context.err.write(`${none}\n`);
}
