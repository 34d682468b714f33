import type { PrunePlan, PrunePolicy, PruneVerdict } from "@godwit/vault";
import { type MemberRecord, pointNameOf, type ProtectionGroup, type Retention } from "./model.ts";

const dayMs = 86_400_000;

/** What a group's retention says, for `vault prune`. */
export function prunePolicy({ withinDays, ...counts }: Retention): PrunePolicy {
  const given = Object.entries(counts).filter(([, count]) => count !== undefined);
  return { ...Object.fromEntries(given), ...(withinDays !== undefined && { within: withinDays * dayMs }) };
}

/** What every group says that protects a VM into the same vault: none may delete what another one keeps. */
export function policiesFor(
  groups: readonly ProtectionGroup[],
  records: readonly MemberRecord[],
  { vmId, vm, points = vm, vaultId }: { readonly vmId: string; readonly vm: string; readonly points?: string; readonly vaultId: string },
): { readonly group: string; readonly timeZone: string; readonly policy: PrunePolicy }[] {
  const protecting = new Set(records.filter((record) => record.vmId === vmId).map(({ groupId }) => groupId));
  return groups
    .filter((group) => group.vaultId === vaultId && protecting.has(group.id) && pointNameOf(group, vm) === points)
    .map(({ name, retention, schedule }) => ({ group: name, timeZone: schedule.timeZone, policy: prunePolicy(retention) }));
}

/** One plan of several: a point goes only when each of them lets it go. */
export function strictest(plans: readonly { readonly group: string; readonly plan: PrunePlan }[], vm: string): PrunePlan {
  const [first, ...others] = plans;
  if (!first) return { points: [], damaged: [], locked: [] };
  const verdicts = others.map(({ group, plan }) => ({ group, byId: new Map(plan.points.map((point) => [point.id, point])) }));
  const points = first.plan.points.filter(({ name }) => name === vm).map((point) => joined(first.group, point, verdicts));
  return { ...first.plan, points };
}

function joined(
  group: string,
  point: PruneVerdict,
  others: readonly { readonly group: string; readonly byId: ReadonlyMap<string, PruneVerdict> }[],
): PruneVerdict {
  const all = [{ group, verdict: point }, ...others.map((other) => ({ group: other.group, verdict: other.byId.get(point.id) }))];
  const keep = all.some(({ verdict }) => verdict?.keep !== false);
  const reasons = all
    .filter(({ verdict }) => verdict?.keep === keep)
    .flatMap(({ group: name, verdict }) => (verdict?.reasons ?? []).map((reason) => `${name}: ${reason}`));
  return { ...point, keep, reasons };
}
