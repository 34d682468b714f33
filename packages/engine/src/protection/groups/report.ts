import type { Reason } from "../../model/reason.ts";
import type { MemberRecord, ProtectionGroup, RunRecord } from "./model.ts";

/** How a member stands. Sizes in bytes, times in milliseconds unless named otherwise. */
export interface MemberStatus {
  readonly groupId: string;
  readonly group: string;
  readonly vmId: string;
  readonly vm: string;
  /** `late`: the SLA is broken; `failing`: the last run failed; `waiting`: no point yet, and not late. */
  readonly state: "ok" | "running" | "waiting" | "failing" | "late" | "paused";
  readonly reason: Reason;
  readonly lastPointAt?: string | undefined;
  readonly lastPointId?: string | undefined;
  /** Runs of the period that ended well, over all that ended. */
  readonly succeeded: number;
  readonly ended: number;
  /** Changed bytes per day, of the runs that knew. */
  readonly churnBytesPerDay?: number | undefined;
  /** Stored bytes per day: what the vault grows by. */
  readonly growthBytesPerDay?: number | undefined;
  readonly longestFreezeMs?: number | undefined;
  /** The newest consistency check; see {@link RunRecord}. */
  readonly checkedAt?: string | undefined;
  readonly unexpectedBytes?: number | undefined;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

export interface StatusOptions {
  readonly now: number;
  /** Runs that ended before are not counted. Default 30. */
  readonly days?: number;
}

/** What a group's admin is told of one member. */
export function memberStatus(group: ProtectionGroup, record: MemberRecord, { now, days = 30 }: StatusOptions): MemberStatus {
  const recent = record.runs.filter(({ endedAt }) => Date.parse(endedAt) > now - days * dayMs);
  const last = record.runs.findLast(({ outcome }) => outcome === "done");
  const freezes = recent.flatMap(({ frozenMs }) => frozenMs ?? []);
  return {
    groupId: group.id,
    group: group.name,
    vmId: record.vmId,
    vm: record.vm,
    ...stateOf(group, record, now),
    ...(record.lastSuccessAt !== undefined && { lastPointAt: record.lastSuccessAt }),
    ...(last?.pointId !== undefined && { lastPointId: last.pointId }),
    succeeded: recent.filter(({ outcome }) => outcome === "done").length,
    ended: recent.length,
    ...rates(recent),
    ...(record.checkedAt !== undefined && {
      checkedAt: record.checkedAt,
      unexpectedBytes: record.runs.findLast(({ unexpectedBytes }) => unexpectedBytes !== undefined)?.unexpectedBytes,
    }),
    ...(freezes.length > 0 && { longestFreezeMs: Math.max(...freezes) }),
  };
}

/** Whether the SLA is broken, and since when. Undefined without an SLA. */
export function slaBrokenAt({ slaHours, paused }: ProtectionGroup, record: MemberRecord, now: number): number | undefined {
  if (slaHours === undefined || paused) return undefined;
  // A time ahead was told by a wrong clock, and would keep the SLA until then.
  const known = [record.lastSuccessAt ?? record.since, record.since].map((time) => Date.parse(time));
  const last = known.find((time) => time <= now + hourMs);
  if (last === undefined) return undefined;
  const broken = last + slaHours * hourMs;
  return broken <= now ? broken : undefined;
}

function stateOf(group: ProtectionGroup, record: MemberRecord, now: number): Pick<MemberStatus, "state" | "reason"> {
  const last = record.runs.at(-1);
  const broken = slaBrokenAt(group, record, now);
  if (broken !== undefined) {
    const hours = Math.floor((now - broken) / hourMs);
    const text = `no point for ${group.slaHours ?? 0} h: broken since ${new Date(broken).toISOString()} (${hours} h)${lastWords(last)}`;
    return { state: "late", reason: { code: "sla", text } };
  }
  if (record.jobId !== undefined) return { state: "running", reason: { code: "running", text: `job ${record.jobId} is under way` } };
  if (last?.outcome === "failed") return { state: "failing", reason: { code: "failed", text: last.error ?? "the last run failed" } };
  if (group.paused) return { state: "paused", reason: { code: "paused", text: `${group.name} is paused` } };
  if (record.lastSuccessAt === undefined) return { state: "waiting", reason: firstPoint(group, record) };
  return { state: "ok", reason: { code: "ok", text: `last point ${record.lastSuccessAt}` } };
}

function firstPoint({ name, schedule, vaultId }: ProtectionGroup, { vm }: MemberRecord): Reason {
  if (schedule.cron !== undefined || schedule.everyMinutes !== undefined)
    return { code: "first", text: "its first point is still to come" };
  return {
    code: "by-hand",
    text: `${name} has no schedule: capture it by 'godwit protect ${vm} --vault ${vaultId}', or give the group one`,
  };
}

function lastWords(last: RunRecord | undefined): string {
  return last?.error === undefined ? "" : `; the last run said: ${last.error}`;
}

/** The first run is the whole disk and no churn; the rates are of those after it. */
function rates(runs: readonly RunRecord[]): Pick<MemberStatus, "churnBytesPerDay" | "growthBytesPerDay"> {
  const done = runs.filter(({ outcome }) => outcome === "done");
  const [first, ...later] = done;
  const newest = later.at(-1);
  if (!first || !newest) return {};
  const days = Math.max((Date.parse(newest.endedAt) - Date.parse(first.endedAt)) / dayMs, 1 / 24);
  const sum = (of: (run: RunRecord) => number | undefined): number | undefined => {
    const known = later.flatMap((run) => of(run) ?? []);
    return known.length > 0 ? known.reduce((total, bytes) => total + bytes, 0) : undefined;
  };
  const changed = sum(({ changedBytes }) => changedBytes);
  const stored = sum(({ storedBytes }) => storedBytes);
  return {
    ...(changed !== undefined && { churnBytesPerDay: Math.round(changed / days) }),
    ...(stored !== undefined && { growthBytesPerDay: Math.round(stored / days) }),
  };
}
