import type { PausePolicy } from "../migration/contract.ts";
import { compileGlob } from "./glob.ts";
import { allProfiles } from "./profiles/index.ts";
import type { MoveKind, PlacementRule, PlacementSettings, VmPriority, VmSelector, WorkloadProfile } from "./rules.ts";

/** What all rules together say of one VM. Hosts by id; classes are names of rules. */
export interface VmPolicy {
  readonly tags: readonly string[];
  readonly priority: VmPriority;
  readonly startGroup: number;
  /** Each of them must have the host. */
  readonly possibleHosts: readonly { readonly rule: string; readonly hosts: ReadonlySet<string>; readonly names: readonly string[] }[];
  /** In order. */
  readonly preferredHosts: readonly string[];
  readonly apart: readonly { readonly rule: string; readonly enforced: boolean }[];
  readonly together: readonly { readonly rule: string; readonly scope: "host" | "site" }[];
  readonly spread: readonly { readonly rule: string; readonly over: "hosts" | "sites" }[];
  readonly profiles: readonly WorkloadProfile[];
  /** Kinds that every profile allows. */
  readonly allowedKinds: ReadonlySet<MoveKind>;
  /** The tightest of its profiles and rules; absent when none says. */
  readonly maximumPauseMs?: number | undefined;
  /** Of the last rule that says; absent when none does. */
  readonly pausePolicy?: PausePolicy | undefined;
}

/** What rules look at in a VM. */
export interface RuledVm {
  readonly id: string;
  readonly name: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly guestNetworks: readonly string[];
}

interface NamedHost {
  readonly id: string;
  readonly name: string;
}

const everyKind: readonly MoveKind[] = ["live", "shared-nothing", "quick", "cold"];

/** Makes each VM's policy of the settings; VMs that no rule selects share one object. */
export function policiesOf(settings: PlacementSettings, hosts: readonly NamedHost[]): (vm: RuledVm) => VmPolicy {
  const profiles = allProfiles(settings.profiles);
  const idOf = new Map(hosts.flatMap(({ id, name }) => [[id, id] as const, [name, id] as const]));
  const rules = settings.rules.map((rule) => ({ rule, selects: selectorOf(rule.vms) }));
  const tagsOf = taggerOf(settings);
  const made = new Map<string, VmPolicy>();
  return (vm) => {
    const tags = tagsOf(vm);
    const chosen = rules.flatMap(({ rule, selects }, index) => (selects(vm, tags) ? [{ rule, index }] : []));
    const key = `${chosen.map(({ index }) => index).join()} ${JSON.stringify(tags)}`;
    const known = made.get(key);
    if (known) return known;
    const policy = combine(
      chosen.map(({ rule }) => rule),
      tags,
      { profiles, idOf },
    );
    made.set(key, policy);
    return policy;
  };
}

function combine(
  rules: readonly PlacementRule[],
  tags: readonly string[],
  { profiles, idOf }: { readonly profiles: readonly WorkloadProfile[]; readonly idOf: ReadonlyMap<string, string> },
): VmPolicy {
  const ids = (names: readonly string[]): string[] => names.flatMap((name) => idOf.get(name) ?? []);
  const own = profiles.filter(
    (profile) => profile.tags.some((tag) => tags.includes(tag)) || rules.some(({ profile: name }) => name === profile.name),
  );
  const pauses = [...own, ...rules].flatMap(({ maximumPauseMs }) => maximumPauseMs ?? []);
  return {
    tags,
    priority: rules.findLast(({ priority }) => priority !== undefined)?.priority ?? "medium",
    startGroup: rules.findLast(({ startGroup }) => startGroup !== undefined)?.startGroup ?? 0,
    possibleHosts: rules.flatMap(({ name, possibleHosts }) =>
      possibleHosts ? [{ rule: name, hosts: new Set(ids(possibleHosts)), names: possibleHosts }] : [],
    ),
    preferredHosts: [...new Set(rules.flatMap(({ preferredHosts }) => ids(preferredHosts ?? [])))],
    apart: rules.flatMap(({ name, keepApart }) => (keepApart ? [{ rule: name, enforced: keepApart === "enforce" }] : [])),
    together: rules.flatMap(({ name, keepTogether }) => (keepTogether ? [{ rule: name, scope: keepTogether }] : [])),
    spread: rules.flatMap(({ name, spreadOver }) => (spreadOver ? [{ rule: name, over: spreadOver }] : [])),
    profiles: own,
    allowedKinds: new Set(everyKind.filter((kind) => own.every(({ allowedKinds }) => allowedKinds.includes(kind)))),
    maximumPauseMs: pauses.length > 0 ? Math.min(...pauses) : undefined,
    pausePolicy: rules.findLast(({ pausePolicy }) => pausePolicy !== undefined)?.pausePolicy,
  };
}

/** The tags that the settings give a VM, in order. */
export function taggerOf(settings: Pick<PlacementSettings, "tags">): (vm: Pick<RuledVm, "id" | "name">) => readonly string[] {
  const tagged = settings.tags.map(({ vms, tags }) => ({ tags, named: namedBy(vms) }));
  return (vm) => [...new Set(tagged.flatMap(({ tags, named }) => (named(vm) ? tags : [])))].sort();
}

/** Whether a VM has one of these names, which may be ids or patterns. */
function namedBy(names: readonly string[]): (vm: Pick<RuledVm, "id" | "name">) => boolean {
  const exact = new Set(names.filter((name) => !/[*?]/.test(name)));
  const patterns = names.filter((name) => /[*?]/.test(name)).map(compileGlob);
  return ({ id, name }) => exact.has(name) || exact.has(id) || patterns.some((matches) => matches(name));
}

/** Whether a selector means a VM that has these tags. */
export function selectorOf({ names, tags, where }: VmSelector): (vm: RuledVm, vmTags: readonly string[]) => boolean {
  const named = namedBy(names ?? []);
  const wanted = new Set(tags);
  return (vm, vmTags) => {
    if ((names || tags) && !named(vm) && !vmTags.some((tag) => wanted.has(tag))) return false;
    if (!where) return true;
    return (
      vm.memoryBytes >= (where.minimumMemoryBytes ?? 0) &&
      vm.memoryBytes <= (where.maximumMemoryBytes ?? Infinity) &&
      vm.vcpus >= (where.minimumVcpus ?? 0) &&
      (where.guestNetworks?.some((network) => vm.guestNetworks.includes(network)) ?? true)
    );
  };
}
