import { matchesGlob } from "../../placement/glob.ts";
import type { MemberSelector, ProtectionGroup } from "./model.ts";

/** What selection looks at in a VM. */
export interface SelectableVm {
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly tags: readonly string[];
  /** Names of the storage pools that its disks are in. */
  readonly pools: readonly string[];
}

export interface Membership {
  /** Ids of VMs, by group id, in the order of the VMs. */
  readonly members: ReadonlyMap<string, readonly string[]>;
  /** VMs that no group protects. */
  readonly uncovered: readonly string[];
}

/** Who is in which group. A VM may be in several; `rest` takes what no other group selects. */
export function membersOf(groups: readonly ProtectionGroup[], vms: readonly SelectableVm[]): Membership {
  const members = new Map<string, string[]>(groups.map(({ id }) => [id, []]));
  const uncovered: string[] = [];
  for (const vm of vms) {
    const selecting = groups.filter(({ members: selector }) => selects(selector, vm));
    const chosen =
      selecting.length > 0 ? selecting : groups.filter(({ members: selector }) => selector.rest === true && !excepts(selector, vm));
    for (const { id } of chosen) members.get(id)?.push(vm.id);
    if (chosen.length === 0) uncovered.push(vm.id);
  }
  return { members, uncovered };
}

function selects(selector: MemberSelector, vm: SelectableVm): boolean {
  if (excepts(selector, vm)) return false;
  const { names = [], tags = [], hosts = [], pools = [] } = selector;
  return (
    names.some((name) => name === vm.id || matchesGlob(vm.name, name)) ||
    tags.some((tag) => vm.tags.includes(tag)) ||
    hosts.some((host) => matchesGlob(vm.host, host)) ||
    pools.some((pool) => vm.pools.includes(pool))
  );
}

function excepts({ except = [] }: MemberSelector, { id, name }: SelectableVm): boolean {
  return except.some((pattern) => pattern === id || matchesGlob(name, pattern));
}
