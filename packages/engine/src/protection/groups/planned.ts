import type { PlannedVm } from "../storage-plan.ts";
import type { MemberRecord, ProtectionGroup } from "./model.ts";
import { memberStatus } from "./report.ts";
import { nextDue } from "./schedule.ts";

const dayMs = 86_400_000;
const mostCounted = 3000;

/** A group's members as their runs measured them, for a storage plan. Members without a point are left out, and named. */
export function plannedMembers(
  group: ProtectionGroup,
  records: readonly MemberRecord[],
  now: number,
): { readonly vms: PlannedVm[]; readonly pointsPerDay: number; readonly unmeasured: readonly string[] } {
  const measured = records.map((record) => ({ record, vm: plannedVm(group, record, now) }));
  return {
    vms: measured.flatMap(({ vm }) => vm ?? []),
    pointsPerDay: pointsPerDay(group, now),
    unmeasured: measured.flatMap(({ record, vm }) => (vm ? [] : [record.vm])),
  };
}

function plannedVm(group: ProtectionGroup, record: MemberRecord, now: number): PlannedVm | undefined {
  const done = record.runs.filter(({ outcome }) => outcome === "done");
  const full = done.find(({ readBytes, changedBytes }) => readBytes !== undefined && changedBytes === undefined);
  const usedBytes = record.wholeBytes ?? full?.readBytes;
  if (usedBytes === undefined || done.length === 0) return undefined;
  const status = memberStatus(group, record, { now });
  const read = done.reduce((sum, { readBytes = 0 }) => sum + readBytes, 0);
  const stored = done.reduce((sum, { storedBytes = 0 }) => sum + storedBytes, 0);
  const days = Math.max(1, Math.round((now - Date.parse(done[0]!.endedAt)) / dayMs));
  return {
    name: record.vm,
    usedBytes,
    churnBytesPerDay: status.churnBytesPerDay ?? 0,
    ...(read > 0 && stored > 0 && { storedRatio: Math.min(1, stored / read) }),
    evidence: `measured in ${done.length} run${done.length === 1 ? "" : "s"} over ${days} day${days === 1 ? "" : "s"}`,
  };
}

/** Counted over the next four weeks, as a schedule may leave days out; of a dense one over less, as it takes long. */
function pointsPerDay({ schedule }: ProtectionGroup, now: number): number {
  if (schedule.everyMinutes !== undefined) return 1440 / schedule.everyMinutes;
  let [count, until] = [0, now];
  for (let at = nextDue(schedule, now); at !== undefined && at <= now + 28 * dayMs && count < mostCounted; at = nextDue(schedule, at))
    [count, until] = [count + 1, at];
  if (count === 0) return 1;
  return count / (count < mostCounted ? 28 : (until - now) / dayMs);
}
