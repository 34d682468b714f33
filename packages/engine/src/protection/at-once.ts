import type { JobSlot } from "../jobs/job.ts";

/** What a capture of much data needs of the server's memory: packs that are being filled and stored, and its threads. */
const captureBytes = 64 << 20;
/** Of the machine's memory, captures together may take one part in so many. */
const memoryShare = 16;
/** More of them at once only wait for the same cores. */
const perCore = 2;
const [fewest, most] = [2, 8];

export interface ServerMachine {
  readonly cores: number;
  readonly memoryBytes: number;
}

/** How many captures a server runs at once when nobody said: by what its machine has. */
export function capturesAtOnce({ cores, memoryBytes }: ServerMachine): number {
  const fitting = Math.min(cores * perCore, Math.floor(memoryBytes / memoryShare / captureBytes));
  return Math.max(fewest, Math.min(most, fitting));
}

/** The place that every capture takes, whatever its host. */
export function serverSlot(atOnce: number): JobSlot {
  return { name: "captures", label: "captures that this server runs at once", limit: () => Promise.resolve(atOnce) };
}
