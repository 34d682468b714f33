import { createHash } from "node:crypto";
import type { NetworkRecord, NetworkRole } from "../model/network.ts";
import { compareSubnetTexts } from "./ip.ts";

/** The name space of network ids (RFC 9562, UUIDv5). Must never change: every setting refers to networks by id. */
const ID_NAMESPACE = "7d1c1a52-0d5e-4c7e-9a4b-5f0f6a0a6d1e";
const MAX_REMEMBERED_SUBNETS = 16;

/** A network to be: what is needed to find it again, or to name it when it is new. */
export interface Identifiable {
  /** The first names it. */
  readonly subnets: readonly string[];
  readonly gateway: boolean;
  /** A host has an iSCSI or NVMe/TCP session with a target in it. */
  readonly storage: boolean;
}

/**
 * The record of each network, in their order: found again by subnet, or new with an id made of its first
 * subnet, the next free `Cluster Network N`, and a default role. Known networks keep id, name, role and metric.
 */
export function identify(networks: readonly Identifiable[], records: readonly NetworkRecord[], defaultRole: NetworkRole): NetworkRecord[] {
  const found = match(networks, records);
  const ids = new Set(records.map(({ id }) => id));
  const names = new Set(records.map(({ name }) => name.toLowerCase()));
  const fresh = [...networks.keys()].filter((index) => !found.has(index)).toSorted((a, b) => compareNew(networks[a]!, networks[b]!));
  for (const index of fresh) {
    const network = networks[index]!;
    const record = {
      id: newId(network, ids),
      name: newName(names),
      description: "",
      role: defaultRoleOf(network, defaultRole),
      subnets: network.subnets,
    };
    ids.add(record.id);
    names.add(record.name.toLowerCase());
    found.set(index, record);
  }
  keepOneInternal(networks, fresh, found);
  return networks.map((network, index) => remember(found.get(index)!, network.subnets));
}

/** A record belongs to the network that has its first subnet; else to one that has another of its subnets. */
function match(networks: readonly Identifiable[], records: readonly NetworkRecord[]): Map<number, NetworkRecord> {
  const found = new Map<number, NetworkRecord>();
  const taken = new Set<string>();
  const byId = records.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const claim = (fits: (network: Identifiable, record: NetworkRecord) => boolean): void => {
    for (const [index, network] of networks.entries()) {
      const record = found.has(index) ? undefined : byId.find((each) => !taken.has(each.id) && fits(network, each));
      if (record) taken.add(record.id);
      if (record) found.set(index, record);
    }
  };
  claim(({ subnets }, record) => record.subnets[0] !== undefined && record.subnets[0] === subnets[0]);
  claim(({ subnets }, record) => record.subnets[0] !== undefined && subnets.includes(record.subnets[0]));
  claim(({ subnets }, record) => record.subnets.some((subnet) => subnets.includes(subnet)));
  return found;
}

/** Networks with a gateway are numbered first, as an installer would: management is usually network 1. */
function compareNew(a: Identifiable, b: Identifiable): number {
  return Number(b.gateway) - Number(a.gateway) || compareSubnetTexts(a.subnets[0] ?? "", b.subnets[0] ?? "");
}

/** Another network may still have the id that was made of this subnet when the subnet was its. */
function newId({ subnets }: Identifiable, taken: ReadonlySet<string>): string {
  for (let attempt = 1; ; attempt += 1) {
    const id = uuidV5(attempt === 1 ? (subnets[0] ?? "") : `${subnets[0]}#${attempt}`);
    if (!taken.has(id)) return id;
  }
}

function newName(taken: ReadonlySet<string>): string {
  for (let number = 1; ; number += 1) if (!taken.has(`cluster network ${number}`)) return `Cluster Network ${number}`;
}

function defaultRoleOf({ gateway, storage }: Identifiable, defaultRole: NetworkRole): NetworkRole {
  if (storage) return "none";
  return gateway || defaultRole !== "cluster-and-client" ? defaultRole : "cluster";
}

/** On a converged network storage sessions and all else share the wires: it must not leave the cluster without any. */
function keepOneInternal(networks: readonly Identifiable[], fresh: readonly number[], found: Map<number, NetworkRecord>): void {
  const internal = [...found.values()].some(({ role }) => role !== "none");
  const [first] = fresh;
  if (internal || first === undefined) return;
  found.set(first, { ...found.get(first)!, role: networks[first]!.gateway ? "cluster-and-client" : "cluster" });
}

/** Subnets of before are kept behind those of now, so that a network whose first family goes is still found. */
function remember(record: NetworkRecord, subnets: readonly string[]): NetworkRecord {
  const all = [...new Set([...subnets, ...record.subnets])].slice(0, Math.max(MAX_REMEMBERED_SUBNETS, subnets.length));
  return all.join() === record.subnets.join() ? record : { ...record, subnets: all };
}

export function uuidV5(name: string): string {
  const hash = createHash("sha1")
    .update(Buffer.from(ID_NAMESPACE.replaceAll("-", ""), "hex"))
    .update(name)
    .digest()
    .subarray(0, 16);
  hash[6] = (hash[6]! & 0x0f) | 0x50;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  const hex = hash.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
