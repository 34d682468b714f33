import { VaultError } from "../../errors.ts";
import type { Hold } from "../../format/hold.ts";
import type { Point } from "../../format/point.ts";
import { isOver } from "../holds.ts";
import type { PointList } from "../points.ts";
import { Calendar, type Period, periods } from "./periods.ts";

/**
 * What stays of one VM's points. Every rule keeps what it names, and what no rule keeps goes. A period
 * without a point does not count: `daily: 7` keeps the newest point of each of the 7 newest days that have one.
 */
export interface PrunePolicy {
  /** The newest points. */
  readonly last?: number;
  readonly hourly?: number;
  readonly daily?: number;
  readonly weekly?: number;
  readonly monthly?: number;
  readonly yearly?: number;
  /** Milliseconds before the VM's newest point (or before now, where that is dated later). */
  readonly within?: number;
}

export interface PrunePolicies {
  /** For VMs that `byName` does not name; without it these keep everything. */
  readonly fallback?: PrunePolicy;
  readonly byName?: Readonly<Record<string, PrunePolicy>>;
  /** Whose days and hours are meant: an IANA name. UTC unless said otherwise. */
  readonly timeZone?: string;
}

export interface PruneFacts {
  readonly list: PointList;
  readonly holds: readonly Hold[];
  /** Ids of points that verification found hurt: they stay, and stand for nothing. */
  readonly hurt?: ReadonlySet<string>;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface PruneVerdict {
  readonly id: string;
  readonly name: string;
  /** RFC 3339. */
  readonly time: string;
  readonly keep: boolean;
  /** Every reason why it stays, or why it goes. */
  readonly reasons: readonly string[];
  /**
   * Until when the policy would keep it if captures go on as they do, ms: what a lock computed from the
   * retention should last. Undefined when only `last` or no rule keeps it.
   */
  readonly keptUntil?: number;
}

export interface PrunePlan {
  /** By VM, then newest first. */
  readonly points: readonly PruneVerdict[];
  /** Ids of points whose object is damaged: nothing is known about them, and they stay. */
  readonly damaged: readonly string[];
  /** Ids of points that are sealed with a newer key than this slot was granted; they stay. */
  readonly locked: readonly string[];
}

/** How far a point's time may be ahead, ms: clocks of machines differ. */
const clocksDiffer = 3_600_000;

/** Decides which points go. Pure: the same facts give the same plan. Throws `invalid`. */
export function planPrune(facts: PruneFacts, policies: PrunePolicies): PrunePlan {
  const calendar = new Calendar(policies.timeZone ?? "UTC");
  for (const policy of [policies.fallback, ...Object.values(policies.byName ?? {})]) if (policy) checkPolicy(policy);
  const byName = Map.groupBy(facts.list.points, ({ name }) => name);
  const points = [...byName.keys()].sort().flatMap((name) => {
    const policy = policies.byName && Object.hasOwn(policies.byName, name) ? policies.byName[name] : policies.fallback;
    return planMachine(byName.get(name)!, policy, { facts, calendar });
  });
  return { points, damaged: facts.list.damaged, locked: facts.list.locked };
}

function checkPolicy(policy: PrunePolicy): void {
  const counts = ["last", ...periods].map((rule) => policy[rule as "last" | Period]);
  const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
  if (counts.some((value) => value !== undefined && !isCount(value)) || (policy.within !== undefined && !(policy.within >= 0))) {
    throw new VaultError("invalid", "the numbers of a prune policy are whole and not negative");
  }
  if (counts.every((value) => !value) && policy.within === undefined) {
    throw new VaultError(
      "invalid",
      "a prune policy without a rule would delete every recovery point; delete points by name if that is meant",
    );
  }
}

interface Context {
  readonly facts: PruneFacts;
  readonly calendar: Calendar;
}

function planMachine(points: readonly Point[], policy: PrunePolicy | undefined, { facts, calendar }: Context): PruneVerdict[] {
  const newest = points.toReversed();
  const keeps = new Map<string, string[]>(newest.map(({ id }) => [id, []]));
  const isAhead = ({ time }: Point): boolean => Date.parse(time) > facts.now + clocksDiffer;
  const whole = newest.filter((point) => facts.hurt?.has(point.id) !== true && !isAhead(point));
  for (const point of newest) if (isAhead(point)) keeps.get(point.id)!.push("it is dated in the future and stands for nothing until then");
  for (const { id } of newest) if (facts.hurt?.has(id)) keeps.get(id)!.push("it is damaged and stands for nothing; delete it by name");
  for (const hold of facts.holds) {
    const { point, kind, until, reason } = hold;
    const end = until === undefined ? "" : ` until ${new Date(until).toISOString()}`;
    if (!isOver(hold, facts.now)) keeps.get(point)?.push(`${kind}${end}: ${reason}`);
  }
  const standing = new Map(periods.map((period) => [period, representatives(whole, period, policy?.[period] ?? 0, calendar)]));
  if (!policy) for (const reasons of keeps.values()) reasons.push("no policy names this VM");
  else applyRules(whole, policy, keeps, { standing, now: facts.now });
  return newest.map(({ id, name, time }) => {
    const reasons = keeps.get(id)!;
    const keptUntil = policy && endOf(id, Date.parse(time), policy, standing);
    if (reasons.length > 0) return { id, name, time, keep: true, reasons, ...(keptUntil === undefined ? {} : { keptUntil }) };
    return { id, name, time, keep: false, reasons: whyGone(Date.parse(time), policy ?? {}, standing, calendar) };
  });
}

/** By period, its name and the point that stands for it. */
type Standing = ReadonlyMap<Period, ReadonlyMap<string, Point>>;

function applyRules(
  newest: readonly Point[],
  policy: PrunePolicy,
  keeps: ReadonlyMap<string, string[]>,
  { standing, now }: { readonly standing: Standing; readonly now: number },
): void {
  const { last = 0, within } = policy;
  newest.slice(0, last).forEach(({ id }, i) => keeps.get(id)!.push(`last ${last}: number ${i + 1}`));
  if (within !== undefined) {
    const reference = Math.min(now, Date.parse(newest[0]?.time ?? ""));
    for (const { id, time } of newest) if (Date.parse(time) >= reference - within) keeps.get(id)!.push(`within ${durationText(within)}`);
  }
  for (const [period, names] of standing) {
    for (const [name, point] of names) keeps.get(point.id)!.push(`${period} ${policy[period]}: the newest of ${name}`);
  }
}

/** The newest point of each of the newest `count` periods that have one. */
function representatives(newest: readonly Point[], period: Period, count: number, calendar: Calendar): Map<string, Point> {
  const standing = new Map<string, Point>();
  for (const point of newest) {
    const name = calendar.nameOf(period, Date.parse(point.time));
    if (standing.has(name)) continue;
    if (standing.size >= count) break;
    standing.set(name, point);
  }
  return standing;
}

const hourMs = 3_600_000;
const spans: Readonly<Record<Period, number>> = {
  hourly: hourMs,
  daily: 24 * hourMs,
  weekly: 168 * hourMs,
  monthly: 730 * hourMs,
  yearly: 8766 * hourMs,
};

/** When the last rule that keeps a point lets it go. */
function endOf(id: string, time: number, policy: PrunePolicy, standing: Standing): number | undefined {
  const ends = policy.within === undefined ? [] : [time + policy.within];
  for (const [period, names] of standing) {
    if ([...names.values()].some((point) => point.id === id)) ends.push(time + (policy[period] ?? 0) * spans[period]);
  }
  return ends.length === 0 ? undefined : Math.max(...ends);
}

function whyGone(time: number, policy: PrunePolicy, standing: Standing, calendar: Calendar): string[] {
  const reasons: string[] = [];
  if (policy.last) reasons.push(`last ${policy.last}: newer ones are enough`);
  if (policy.within !== undefined) reasons.push(`within ${durationText(policy.within)}: it is older`);
  for (const period of periods) {
    const count = policy[period];
    if (!count) continue;
    const name = calendar.nameOf(period, time);
    const instead = standing.get(period)?.get(name);
    reasons.push(
      instead ? `${period} ${count}: ${instead.id.slice(0, 12)} stands for ${name}` : `${period} ${count}: ${name} is further back`,
    );
  }
  return reasons;
}

function durationText(ms: number): string {
  const hours = ms / 3_600_000;
  return hours >= 48 && hours % 24 === 0 ? `${hours / 24} days` : `${Number(hours.toFixed(2))} hours`;
}
