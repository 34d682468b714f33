import type { Lab, LabGuest } from "@godwit/lab";
import type { Godwit } from "../godwit-process.ts";

/** What every act of the demonstration plays with. */
export interface Stage {
  readonly lab: Lab;
  /** Writes records all the time; `vdb` is an empty disk beside them. */
  readonly guest: LabGuest;
  readonly godwit: Godwit;
  readonly signal: AbortSignal;
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function heading(text: string): void {
  say(`\n── ${text}`);
}
