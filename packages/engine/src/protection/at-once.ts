import type { JobSlot } from "../jobs/job.ts";

/** What a server holds back when many are asked for at the same time. */
export type Bounded = "captures" | "recoveries";

interface Need {
  /** What one of much data needs of the server's memory: packs or chunks under way, and its threads. */
  readonly bytes: number;
  /** More of them at once only wait for the same cores. */
  readonly perCore: number;
}

/** A recovery writes two disks side by side, and keeps requests to a store that may be far away under way for both. */
const needs: Readonly<Record<Bounded, Need>> = {
  captures: { bytes: 64 << 20, perCore: 2 },
  recoveries: { bytes: 128 << 20, perCore: 1 },
};
/** Of the machine's memory, those of a kind together may take one part in so many. */
const memoryShare = 16;
const [fewest, most] = [2, 8];

export interface ServerMachine {
  readonly cores: number;
  readonly memoryBytes: number;
}

/** How many of them a server runs at once when nobody said: by what its machine has. */
export function atOnce(what: Bounded, { cores, memoryBytes }: ServerMachine): number {
  const { bytes, perCore } = needs[what];
  const fitting = Math.min(cores * perCore, Math.floor(memoryBytes / memoryShare / bytes));
  return Math.max(fewest, Math.min(most, fitting));
}

/** The place that every one of them takes, whatever its host. */
export function serverSlot(what: Bounded, limit: number): JobSlot {
  return { name: what, label: `${what} that this server runs at once`, limit: () => Promise.resolve(limit) };
}
