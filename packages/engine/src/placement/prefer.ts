import type { Reason } from "../model/reason.ts";
import type { Board, Seat } from "./board.ts";
import type { SiteVm } from "./model.ts";

/**
 * How well a host suits a VM by the soft rules; smaller is better, compared from left to right: broken
 * anti-affinity, place in the preferred hosts, members to be with elsewhere, members that it would crowd, and
 * at last how full the host would be. So an anti-affinity class moves a VM on to its next preferred host, as
 * failover clusters do.
 */
export type Preference = readonly [apart: number, preferred: number, together: number, spread: number, load: number];

export function preferenceOf(vm: SiteVm, seat: Seat, board: Board): Preference {
  const { policy } = vm;
  let apart = 0;
  for (const { rule, enforced } of policy.apart) if (!enforced) apart += board.mates(rule, seat);
  let together = 0;
  for (const { rule, scope } of policy.together) {
    together += board.matesEverywhere(rule) - (scope === "host" ? board.mates(rule, seat) : board.matesOnSite(rule, seat));
  }
  let spread = 0;
  for (const { rule, over } of policy.spread) spread += over === "hosts" ? board.mates(rule, seat) : board.matesOnSite(rule, seat);
  return [apart, preferredPlace(vm, seat), together, spread, loadWith(vm, seat)];
}

export function comparePreferences(a: Preference, b: Preference): number {
  for (let index = 0; index < a.length; index += 1) {
    const difference = a[index]! - b[index]!;
    if (Math.abs(difference) > 1e-9) return difference;
  }
  return 0;
}

function preferredPlace({ policy }: SiteVm, { host }: Seat): number {
  const place = policy.preferredHosts.indexOf(host.id);
  return place < 0 ? policy.preferredHosts.length : place;
}

/** The fuller of memory and CPU, as a fraction. */
function loadWith(vm: SiteVm, { host, usedBytes, freeBytes, vcpus }: Seat): number {
  const room = usedBytes + Math.max(0, freeBytes);
  return Math.max((usedBytes + vm.memoryBytes) / Math.max(1, room), (vcpus + vm.vcpus) / Math.max(1, host.cpus) / vcpusAtEase);
}

/** vCPUs per CPU at which a host counts as full. */
const vcpusAtEase = 4;

/** The same in words, for the host as it would be. */
export function explainPreference(vm: SiteVm, seat: Seat, board: Board): Reason[] {
  const { policy } = vm;
  const { name } = seat.host;
  const reasons: Reason[] = [];
  for (const { rule, enforced } of policy.apart) {
    const mates = board.mates(rule, seat);
    if (!enforced && mates > 0) reasons.push({ code: "anti-affinity", text: `${mates} of rule '${rule}' would be together with it` });
  }
  if (policy.preferredHosts.length > 0) {
    const place = preferredPlace(vm, seat) + 1;
    const text = place > policy.preferredHosts.length ? "not among its preferred hosts" : `number ${place} of its preferred hosts`;
    reasons.push({ code: "preferred-hosts", text });
  }
  for (const { rule, scope } of policy.together) {
    const here = scope === "host" ? board.mates(rule, seat) : board.matesOnSite(rule, seat);
    reasons.push({ code: "together", text: `${here} of ${board.matesEverywhere(rule)} others of rule '${rule}' are on this ${scope}` });
  }
  for (const { rule, over } of policy.spread) {
    const here = over === "hosts" ? board.mates(rule, seat) : board.matesOnSite(rule, seat);
    reasons.push({ code: "spread", text: `${here} others of rule '${rule}' are on this ${over === "hosts" ? "host" : "site"}` });
  }
  reasons.push({ code: "load", text: `${name} would be ${Math.round(loadWith(vm, seat) * 100)} % full` });
  return reasons;
}
