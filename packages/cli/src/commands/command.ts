import { type Command, InvalidArgumentError } from "commander";
import type { Context } from "../context.ts";

/** Runs a command's body with the context that the global options ask for. */
export type WithContext = (body: (context: Context) => Promise<void>) => Promise<void>;

/** One noun adds its verbs to the program. */
export type AddCommands = (program: Command, withContext: WithContext) => void;

export function integer(text: string): number {
  if (!/^-?\d+$/.test(text)) throw new InvalidArgumentError("a whole number is needed.");
  return Number(text);
}

/** `a,b,c`; an empty text is an empty list. */
export function nameList(text: string): string[] {
  return text
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

/** `100M`, `1.5GiB`, `2500000`: bytes per second; K, M, G are powers of 1024. */
export function byteRate(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?(?:\/s)?$/i.exec(text);
  if (!match) throw new InvalidArgumentError("a rate such as 100M or 1.5GiB is needed.");
  return Math.round(Number(match[1]) * 1024 ** " KMGT".indexOf((match[2] || " ").toUpperCase()));
}

/** An option that may be given several times. */
export function several<T>(parse: (text: string) => T): (text: string, before: T[] | undefined) => T[] {
  return (text, before = []) => [...before, parse(text)];
}

/** The options that every command which starts a job has. */
export function jobOptions(command: Command): Command {
  return command
    .option("--wait", "wait until the job has ended (default)", true)
    .option("--no-wait", "print the job's id and return at once")
    .option("--idempotency-key <key>", "the same key never starts a second job");
}

export interface JobFlags {
  readonly wait: boolean;
  readonly idempotencyKey?: string;
}
