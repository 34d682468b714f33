import type { Reason } from "../../model/reason.ts";
import type { GroupLimits, MemberRecord, ProtectionGroup } from "./model.ts";
import { inWindow, lastDue, nextDue, nextOpening } from "./schedule.ts";

/** A member as it is now. */
export interface DueMember {
  readonly group: ProtectionGroup;
  readonly record: MemberRecord;
  readonly hostId: string;
  readonly host: string;
  readonly pools: readonly string[];
  /** False while its host does not answer: a run would only fail. */
  readonly reachable: boolean;
}

export interface Start {
  readonly member: DueMember;
  /** The moment that this run is for: the same run is never started twice. */
  readonly dueAt: number;
  readonly attempt: number;
  readonly reason: Reason;
  /** It is to be a consistency check. */
  readonly check: boolean;
}

export interface Wait {
  readonly member: DueMember;
  readonly reason: Reason;
}

export interface RunPlan {
  readonly starts: readonly Start[];
  /** Due, but not now, and why. */
  readonly waits: readonly Wait[];
  /** When to look again, milliseconds since the epoch; undefined: only when something changes. */
  readonly wakeAt?: number | undefined;
}

interface Due {
  readonly member: DueMember;
  readonly dueAt: number;
  readonly attempt: number;
  readonly reason: Reason;
}

const minuteMs = 60_000;

/**
 * Which captures start now. Longest without a point first; limits count what runs already, and `atOnce` is that of the
 * server: who would only queue there keeps no move of his VM waiting. Pure: the same facts give the same plan, and a plan
 * that was carried out gives no further start.
 */
export function planRuns(members: readonly DueMember[], now: number, atOnce: number = Infinity): RunPlan {
  const running = members.filter(({ record }) => record.jobId !== undefined);
  const taken = new Places(running, atOnce);
  const due: Due[] = [];
  const wakes: number[] = [];
  const waits: Wait[] = [];
  const looks = new Map<ProtectionGroup["schedule"], number | undefined>();
  for (const member of members) {
    if (member.record.jobId !== undefined || member.group.paused) continue;
    const found = dueNow(member, now);
    if (found) due.push(found);
    // Working out hours takes long, and they are the same for all of a group.
    const { schedule } = member.group;
    if (!looks.has(schedule)) looks.set(schedule, nextLook(schedule, now));
    for (const wake of [looks.get(schedule), retryAt(member)]) if (wake !== undefined && wake > now) wakes.push(wake);
  }
  const starts: Start[] = [];
  for (const one of due.toSorted(byNeed)) {
    const reason = whyNot(one.member, now) ?? taken.full(one.member);
    if (reason) waits.push({ member: one.member, reason });
    else {
      taken.take(one.member);
      starts.push({ ...one, check: checkDue(one.member, now) });
    }
  }
  return { starts, waits, ...(wakes.length > 0 && { wakeAt: Math.min(...wakes) }) };
}

function byNeed(a: Due, b: Due): number {
  const last = ({ member }: Due): string => member.record.lastSuccessAt ?? "";
  return last(a).localeCompare(last(b)) || a.dueAt - b.dueAt || a.member.record.vm.localeCompare(b.member.record.vm);
}

/** Whether it is due, for which moment, and why. */
function dueNow(member: DueMember, now: number): Due | undefined {
  const { group, record } = member;
  const since = Date.parse(record.since);
  const handled = Math.max(record.dueAt ?? since - 1, since);
  // Of a moment beyond the next one nothing can be known: the clock was ahead then, and waiting for it could take years.
  const scheduled = lastDue(group.schedule, handled > (nextDue(group.schedule, now) ?? Infinity) ? 0 : handled, now);
  if (scheduled !== undefined) {
    const late = now - scheduled > 2 * minuteMs && record.dueAt !== undefined;
    const reason = late
      ? { code: "made-up", text: `made up: it was due ${new Date(scheduled).toISOString()} and nothing ran then` }
      : { code: "scheduled", text: `due ${new Date(scheduled).toISOString()}` };
    return { member, dueAt: scheduled, attempt: 1, reason };
  }
  if (record.dueAt === undefined) {
    if (nextDue(group.schedule, now) === undefined) return undefined;
    return {
      member,
      dueAt: since,
      attempt: 1,
      reason: { code: "first", text: "the first point of a new member does not wait for the schedule" },
    };
  }
  return retryDue(member, record.dueAt, now);
}

/** A moment for a check has passed since the last one. A VM without a point has nothing to compare with. */
function checkDue({ group, record }: DueMember, now: number): boolean {
  if (!group.checks || record.lastSuccessAt === undefined) return false;
  const schedule = { cron: group.checks, timeZone: group.schedule.timeZone };
  const last = Date.parse(record.checkedAt ?? record.since);
  return lastDue(schedule, last > now ? 0 : last, now) !== undefined;
}

function retryDue(member: DueMember, dueAt: number, now: number): Due | undefined {
  const { group, record } = member;
  const at = retryAt(member);
  if (at === undefined || at > now) return undefined;
  const text = `try ${record.failures + 1} of ${group.retry.times + 1} after ${record.failures === 1 ? "a failure" : `${record.failures} failures`}`;
  return { member, dueAt, attempt: record.failures + 1, reason: { code: "retry", text } };
}

/** Undefined: no failure, or no more tries until it is due again. */
function retryAt({ group, record }: DueMember): number | undefined {
  if (record.failures === 0 || record.failures > group.retry.times || record.lastEndedAt === undefined) return undefined;
  return Date.parse(record.lastEndedAt) + group.retry.delayMinutes * minuteMs * 2 ** (record.failures - 1);
}

/** When a group's members may be due next, whatever became of them. */
function nextLook(schedule: ProtectionGroup["schedule"], now: number): number | undefined {
  const opening = inWindow(schedule, now) ? undefined : nextOpening(schedule, now);
  const known = [nextDue(schedule, now), opening].filter((time) => time !== undefined);
  return known.length > 0 ? Math.min(...known) : undefined;
}

function whyNot({ group, host, reachable }: DueMember, now: number): Reason | undefined {
  if (!inWindow(group.schedule, now)) return { code: "window", text: `outside of the windows of ${group.name}` };
  return reachable ? undefined : { code: "host-lost", text: `${host} does not answer` };
}

/** What is taken of the limits, by group. */
class Places {
  readonly #counts = new Map<string, number>();
  readonly #atOnce: number;
  #all = 0;

  constructor(running: readonly DueMember[], atOnce: number) {
    this.#atOnce = atOnce;
    for (const member of running) this.take(member);
  }

  take(member: DueMember): void {
    this.#all += 1;
    for (const { key } of placesOf(member)) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  full(member: DueMember): Reason | undefined {
    for (const { key, limit, label } of placesOf(member)) {
      if (limit !== undefined && (this.#counts.get(key) ?? 0) >= limit)
        return { code: "limit", text: `${limit} at once ${label} is the limit of ${member.group.name}` };
    }
    if (this.#all < this.#atOnce) return undefined;
    return {
      code: "server-limit",
      text: `${this.#all} captures run, and this server runs ${this.#atOnce} at once (godwit server --captures)`,
    };
  }
}

function placesOf({
  group,
  hostId,
  host,
  pools,
}: DueMember): { readonly key: string; readonly limit: number | undefined; readonly label: string }[] {
  const { perHost, perPool, perVault }: GroupLimits = group.limits;
  return [
    { key: `host ${hostId}`, limit: perHost, label: `on host ${host}` },
    ...pools.map((pool) => ({ key: `pool ${hostId} ${pool}`, limit: perPool, label: `on storage ${pool}` })),
    { key: `vault ${group.vaultId}`, limit: perVault, label: "into its vault" },
  ];
}
