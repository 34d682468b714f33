import type { NetworkRecord } from "../model/network.ts";
import { uuidV5 } from "../network/identity.ts";
import { formatSubnet, parseSubnet } from "../network/ip.ts";
import type { NetworkEdit, NetworkRecordEdit } from "../network/settings.ts";
import { canonicalOr, type Draft } from "./draft.ts";
import { didYouMean } from "./problems.ts";
import type { FileNetwork } from "./schema.ts";
import type { ClusterState } from "./state.ts";

export interface NetworksPlan {
  readonly edits: readonly NetworkRecordEdit[];
  /** Every network as it will be, for references by name, id or subnet. */
  readonly after: readonly NetworkRecord[];
}

interface Context {
  readonly state: ClusterState;
  /** Subnets of hosts that are not there yet; undefined: not known. */
  readonly arriving: readonly string[] | undefined;
}

/** One entry of the file and the network it is about. */
interface Meant {
  readonly index: number;
  readonly entry: FileNetwork;
  readonly record: NetworkRecord;
  /** It is in no host's facts and no record yet: known by this subnet only. */
  readonly subnet?: string | undefined;
}

export function planNetworkEdits(entries: readonly FileNetwork[], context: Context, draft: Draft): NetworksPlan {
  const meant = entries.flatMap((entry, index) => find(entry, index, context, draft) ?? []);
  const after = new Map(context.state.networks.map((record) => [record.id, record]));
  const edits: NetworkRecordEdit[] = [];
  const claimed = new Map<string, number>();
  for (const { index, entry, record, subnet } of meant) {
    const first = claimed.get(record.id);
    if (first !== undefined) draft.problem(["networks", index], `is the same network as networks[${first}]`);
    claimed.set(record.id, index);
    const edit = difference({ index, entry, record, subnet }, draft);
    if (edit || subnet !== undefined) edits.push({ id: record.id, subnet, edit: edit ?? {} });
    after.set(record.id, { ...record, ...(entry.name === undefined ? {} : { name: entry.name }), role: entry.role ?? record.role });
  }
  checkNames(meant, [...after.values()], draft);
  checkInternalLeft(meant, [...after.values()], context.state, draft);
  return { edits, after: [...after.values()] };
}

function find(entry: FileNetwork, index: number, { state, arriving }: Context, draft: Draft): Meant | undefined {
  const path = ["networks", index];
  if (entry.subnet === undefined) {
    if (entry.name === undefined) return report(draft, path, "says neither subnet nor name, so it is not known which network is meant");
    const named = state.networks.find(({ name }) => name.toLowerCase() === entry.name!.toLowerCase());
    if (named) return { index, entry, record: named };
    const names = state.networks.map(({ name }) => name);
    return report(
      draft,
      [...path, "name"],
      `there is no network '${entry.name}'${didYouMean(entry.name, names)}; give its subnet to name it so`,
    );
  }
  const subnet = canonicalOr(entry.subnet, [...path, "subnet"], draft);
  if (subnet === undefined) return undefined;
  const known = bestRecord(state, subnet);
  if (known) return { index, entry, record: known };
  const there = [...new Set([...state.listed.flatMap((network) => network.subnets), ...(arriving ?? [])])];
  if (arriving && !there.includes(subnet)) {
    return report(draft, [...path, "subnet"], `no host has an address in ${subnet}; there are ${there.join(", ") || "no networks yet"}`);
  }
  return {
    index,
    entry,
    subnet,
    record: { id: freeId(subnet, state), name: `Network ${subnet}`, description: "", role: "cluster", subnets: [subnet] },
  };
}

function report(draft: Draft, path: readonly (string | number)[], text: string): undefined {
  draft.problem(path, text);
}

/** A network that there is before one that was; by its first subnet before one that it also has. */
function bestRecord({ networks, listed }: ClusterState, subnet: string): NetworkRecord | undefined {
  const live = listed.find(({ subnets }) => subnets.includes(subnet));
  return (
    networks.find(({ id }) => id === live?.id) ??
    networks.find(({ subnets }) => subnets[0] === subnet) ??
    networks.find(({ subnets }) => subnets.includes(subnet))
  );
}

function freeId(subnet: string, { networks }: ClusterState): string {
  const id = uuidV5(subnet);
  return networks.some((record) => record.id === id) ? uuidV5(`${subnet}#2`) : id;
}

function difference({ index, entry, record, subnet }: Meant, draft: Draft): NetworkEdit | undefined {
  const subject = `network ${record.name}`;
  const edit: { -readonly [Key in keyof NetworkEdit]: NetworkEdit[Key] } = {};
  if (subnet !== undefined) draft.change("add", ["networks", index], `network ${entry.name ?? record.name}`, { after: { subnet } });
  for (const key of ["name", "role", "description"] as const) {
    const wanted = entry[key];
    if (wanted === undefined || wanted === record[key]) continue;
    draft.change("change", ["networks", index, key], subject, { before: record[key], after: wanted });
    Object.assign(edit, { [key]: wanted });
  }
  const metric = record.metric ?? "auto";
  if (entry.metric !== undefined && entry.metric !== metric) {
    draft.change("change", ["networks", index, "metric"], subject, { before: metric, after: entry.metric });
    if (entry.metric === "auto") edit.autoMetric = true;
    else edit.metric = entry.metric;
  }
  return Object.keys(edit).length > 0 ? edit : undefined;
}

/** By the names of afterwards, so that two networks may swap theirs. */
function checkNames(meant: readonly Meant[], after: readonly NetworkRecord[], draft: Draft): void {
  for (const { index, entry, record } of meant) {
    if (entry.name === undefined) continue;
    const other = after.find(({ id, name }) => id !== record.id && name.toLowerCase() === entry.name!.toLowerCase());
    if (other)
      draft.problem(["networks", index, "name"], `the name '${entry.name}' is taken by the network on ${other.subnets.join(", ")}`);
  }
}

function checkInternalLeft(meant: readonly Meant[], after: readonly NetworkRecord[], state: ClusterState, draft: Draft): void {
  const listed = new Set(state.listed.map(({ id }) => id));
  const internal = (records: readonly NetworkRecord[]): boolean => records.some(({ id, role }) => listed.has(id) && role !== "none");
  if (internal(after) || !internal(state.networks)) return;
  const guilty = meant.find(({ entry, record }) => entry.role === "none" && record.role !== "none");
  draft.problem(
    ["networks", guilty?.index ?? 0, "role"],
    "no network would be left for internal traffic, so the last one cannot become none",
  );
}

/** Finds a network as it will be by name, id or subnet. */
export function findPlanned(ref: string, { after }: NetworksPlan): NetworkRecord | undefined {
  const subnet = parseSubnet(ref);
  const text = subnet && formatSubnet(subnet);
  return (
    after.find(({ id }) => id === ref) ??
    after.find(({ name }) => name.toLowerCase() === ref.toLowerCase()) ??
    (text === undefined ? undefined : after.find(({ subnets }) => subnets.includes(text)))
  );
}
