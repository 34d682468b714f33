import type { DrainEntry, DrainPlan } from "./drain-model.ts";

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** A drain plan as lines for a log: every VM, then the room on the other hosts. */
export function drainPlanText(plan: DrainPlan): string[] {
  const moves = plan.entries.filter(({ verdict }) => verdict === "move").length;
  const head = `${plan.host}: ${moves} of ${plan.entries.length} VMs move, ${plan.concurrency} at a time, in about ${seconds(plan.predictedMs)}`;
  const rooms = plan.room
    .filter(({ arriving }) => arriving > 0)
    .map(
      ({ host, arriving, freeBefore, freeAfter }) =>
        `${host}: ${arriving} arrive, room ${gib(freeBefore)} → ${gib(Math.max(0, freeAfter))}`,
    );
  return [plan.possible ? head : `${head}; NOT possible as a whole`, ...plan.entries.map(entryText), ...rooms];
}

function entryText(entry: DrainEntry): string {
  const { vm, reason, choice } = entry;
  if (entry.verdict === "stay") return `stays: ${reason.text}`;
  if (entry.verdict === "blocked") return `BLOCKED ${vm}: ${reason.text}\n  → ${choice ?? ""}`;
  const disks = entry.storagePool === undefined ? "" : `, disks into '${entry.storagePool}'`;
  const pause = entry.maximumPauseMs === undefined ? "" : `, pause at most ${entry.maximumPauseMs} ms`;
  return `${entry.order}. ${vm} → ${entry.destination} (${entry.kind}) over ${entry.network}${disks}${pause}, at ${seconds(entry.startsAtMs ?? 0)} for ${seconds(entry.predictedMs ?? 0)}: ${reason.text}`;
}
