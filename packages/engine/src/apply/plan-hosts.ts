import { canonicalJson, describeError } from "@godwit/core";
import type { HostMigrationNetwork, HostMigrationSettings } from "../model/network.ts";
import { compareSubnetTexts } from "../network/ip.ts";
import { canonicalOr, type Draft } from "./draft.ts";
import type { Work } from "./plan.ts";
import type { Path } from "./problems.ts";
import type { ClusterFile, FileHost } from "./schema.ts";
import { type CheckedHosts, type ClusterState, newHostMigration } from "./state.ts";
import type { WantedHost } from "./target.ts";

export interface HostsPlan extends Pick<Work, "addHosts" | "replaceHosts" | "migration" | "backup" | "removeHosts"> {
  /** The subnets of the hosts that are not there yet; undefined when one of them did not tell. */
  readonly arrivingSubnets: readonly string[] | undefined;
}

interface HostsContext {
  readonly checked: CheckedHosts;
  /** Written on the migration networks that the file makes. */
  readonly managedBy: string;
}

type KnownHostState = ClusterState["hosts"][number];

export function planHosts(file: ClusterFile, state: ClusterState, context: HostsContext, draft: Draft): HostsPlan {
  const plan = {
    addHosts: [] as WantedHost[],
    replaceHosts: [] as Work["replaceHosts"][number][],
    migration: [] as Work["migration"][number][],
    backup: [] as Work["backup"][number][],
  };
  const names = new Map<string, number>();
  for (const [index, host] of (file.hosts ?? []).entries()) {
    const first = names.get(host.name.toLowerCase());
    if (first !== undefined) draft.problem(["hosts", index, "name"], `hosts[${first}] is called '${file.hosts?.[first]?.name}' already`);
    names.set(host.name.toLowerCase(), index);
    const known = findKnown(host, state);
    planHost(host, known, { index, ...context, state }, plan, draft);
    const subnets = { host: host.name, index, managedBy: context.managedBy };
    planSubnets(host.migration, known?.migration ?? newHostMigration, { ...subnets, key: "migration" }, plan.migration, draft);
    planSubnets(host.backup, known?.backup ?? newHostMigration, { ...subnets, key: "backup" }, plan.backup, draft);
  }
  return { ...plan, removeHosts: planRemovals(file, state, names, draft), arrivingSubnets: arrivingSubnets(context.checked) };
}

/** Hosts of the file that must be asked before anything is changed: new ones, and those that are to be reached otherwise. */
export function hostsToCheck(
  file: ClusterFile,
  state: Pick<ClusterState, "hosts">,
): { readonly index: number; readonly host: WantedHost }[] {
  return (file.hosts ?? []).flatMap((host, index) => {
    const known = state.hosts.find(({ name }) => name === host.name);
    const wanted = wantedHost(host, known);
    return wanted && !(known && sameAccess(known, wanted)) ? [{ index, host: wanted }] : [];
  });
}

function findKnown(host: FileHost, state: ClusterState): KnownHostState | undefined {
  return state.hosts.find(({ name }) => name === host.name);
}

/** What the file does not say stays as it is; undefined for a new host without a URI. */
function wantedHost(host: FileHost, known: WantedHost | undefined): WantedHost | undefined {
  const uri = host.uri ?? known?.uri;
  const ssh = host.ssh ?? known?.ssh;
  return uri === undefined ? undefined : { name: host.name, uri, ...(ssh ? { ssh } : {}) };
}

function sameAccess(a: WantedHost, b: WantedHost): boolean {
  return a.uri === b.uri && canonicalJson(a.ssh ?? null) === canonicalJson(b.ssh ?? null);
}

interface HostContext extends HostsContext {
  readonly index: number;
  readonly state: ClusterState;
}

function planHost(
  host: FileHost,
  known: KnownHostState | undefined,
  { index, checked, state }: HostContext,
  plan: { readonly addHosts: WantedHost[]; readonly replaceHosts: Work["replaceHosts"][number][] },
  draft: Draft,
): void {
  const path = ["hosts", index];
  const wanted = wantedHost(host, known);
  if (!wanted) return draft.problem([...path, "uri"], `is missing: there is no host '${host.name}' yet`);
  if (known && sameAccess(known, wanted)) return;
  const answer = checked.get(index);
  if (answer instanceof Error) return draft.problem([...path, "uri"], describeError(answer));
  const owner = state.hosts.find(({ id }) => id === answer?.id);
  if (owner && owner.name !== host.name) {
    return draft.problem([...path, "uri"], `leads to the machine that is the host '${owner.name}' already`);
  }
  if (!known) {
    plan.addHosts.push(wanted);
    return draft.change("add", path, `host ${host.name}`, { after: { uri: wanted.uri, ...(wanted.ssh ? { ssh: wanted.ssh } : {}) } });
  }
  if (answer && answer.id !== known.id) {
    return draft.problem([...path, "uri"], `leads to another machine (${answer.id}) than the host '${known.name}' is now (${known.id})`);
  }
  plan.replaceHosts.push({ id: known.id, host: wanted });
  if (known.uri !== wanted.uri) draft.change("change", [...path, "uri"], `host ${host.name}`, { before: known.uri, after: wanted.uri });
  if (canonicalJson(known.ssh ?? null) !== canonicalJson(wanted.ssh ?? null)) {
    draft.change("change", [...path, "ssh"], `host ${host.name}`, { before: known.ssh, after: wanted.ssh });
  }
}

interface SubnetsContext {
  readonly host: string;
  /** What the subnets are for. */
  readonly key: "migration" | "backup";
  readonly index: number;
  readonly managedBy: string;
}

function planSubnets(
  migration: NonNullable<FileHost["migration"]> | undefined,
  before: HostMigrationSettings,
  { host: name, key: subnetsFor, index, managedBy }: SubnetsContext,
  planned: Work["migration"][number][],
  draft: Draft,
): void {
  if (!migration) return;
  const path = ["hosts", index, subnetsFor];
  const networks = migration.networks ? wantedNetworks(migration.networks, before, { path, managedBy }, draft) : before.networks;
  // As when entries are added or removed by hand: listing networks means to use those, listing none any.
  const implied = networks.length === 0 ? true : before.networks.length === 0 ? false : before.useAnyNetwork;
  const after: HostMigrationSettings = {
    useAnyNetwork: migration.useAnyNetwork ?? (migration.networks ? implied : before.useAnyNetwork),
    maximumLiveMigrations: migration.maximumLiveMigrations ?? before.maximumLiveMigrations,
    maximumStorageMigrations: migration.maximumStorageMigrations ?? before.maximumStorageMigrations,
    networks,
  };
  let differs = diffNetworks(before.networks, networks, { path, host: name, what: `${subnetsFor} network` }, draft);
  for (const key of ["useAnyNetwork", "maximumLiveMigrations", "maximumStorageMigrations"] as const) {
    if (before[key] === after[key]) continue;
    draft.change("change", [...path, key], `host ${name}`, { before: before[key], after: after[key] });
    differs = true;
  }
  if (differs) planned.push({ host: name, settings: after });
}

function wantedNetworks(
  entries: NonNullable<NonNullable<FileHost["migration"]>["networks"]>,
  before: HostMigrationSettings,
  { path, managedBy }: { readonly path: Path; readonly managedBy: string },
  draft: Draft,
): HostMigrationNetwork[] {
  const wanted = new Map<string, HostMigrationNetwork>();
  for (const [at, { subnet: text, priority }] of entries.entries()) {
    const subnet = canonicalOr(text, [...path, "networks", at, "subnet"], draft);
    if (subnet === undefined) continue;
    if (wanted.has(subnet)) draft.problem([...path, "networks", at, "subnet"], `${subnet} is in the list twice`);
    // Whoever made an entry that stays as it is keeps it.
    const same = before.networks.find((each) => each.subnet === subnet && each.priority === priority);
    wanted.set(subnet, same ?? { subnet, priority, managedBy });
  }
  return [...wanted.values()].toSorted((a, b) => a.priority - b.priority || compareSubnetTexts(a.subnet, b.subnet));
}

function diffNetworks(
  before: readonly HostMigrationNetwork[],
  after: readonly HostMigrationNetwork[],
  { path, host, what }: { readonly path: Path; readonly host: string; readonly what: string },
  draft: Draft,
): boolean {
  const subject = (subnet: string): string => `${what} ${subnet} of host ${host}`;
  const at = [...path, "networks"];
  let differs = false;
  for (const entry of after) {
    const old = before.find(({ subnet }) => subnet === entry.subnet);
    if (old?.priority === entry.priority) continue;
    differs = true;
    if (old) draft.change("change", at, subject(entry.subnet), { before: { priority: old.priority }, after: { priority: entry.priority } });
    else draft.change("add", at, subject(entry.subnet), { after: { priority: entry.priority } });
  }
  for (const { subnet, priority } of before) {
    if (after.some((entry) => entry.subnet === subnet)) continue;
    differs = true;
    draft.change("remove", at, subject(subnet), { before: { priority } });
  }
  return differs;
}

function planRemovals(file: ClusterFile, state: ClusterState, wanted: ReadonlyMap<string, number>, draft: Draft): string[] {
  if (!file.prune) return [];
  if (!file.hosts) {
    draft.problem(["prune"], "prune: true without a list of hosts would remove every host; write hosts: [] if that is meant");
    return [];
  }
  const gone = state.hosts.filter(({ name }) => !wanted.has(name.toLowerCase()));
  for (const { name, uri } of gone) draft.change("remove", ["hosts"], `host ${name}`, { before: { uri } });
  return gone.map(({ id }) => id);
}

function arrivingSubnets(checked: CheckedHosts): readonly string[] | undefined {
  const subnets: string[] = [];
  for (const host of checked.values()) {
    if (host instanceof Error || !host.subnets) return undefined;
    subnets.push(...host.subnets);
  }
  return subnets;
}
