import type { HostNetworkFacts, InterfaceAddress, InterfaceFacts } from "./facts.ts";
import { compareSubnets, formatSubnet, parseAddress, type Subnet, subnetOf } from "./ip.ts";
import type { IgnoredInterface, NetworkHost } from "./model.ts";
import { type Uplink, uplinks } from "./uplink.ts";

/** What is known of one host when networks are planned. */
export interface HostReport extends NetworkHost {
  /** `unavailable`: the host is not up. `unknown`: it is, but its facts could not be read now. */
  readonly state: "up" | "unavailable" | "unknown";
  /** Why it is not `up`. */
  readonly problem?: string | undefined;
  /** The newest there are, which are old unless the state is `up`. */
  readonly facts?: HostNetworkFacts | undefined;
}

/** One interface of one host on one candidate. */
export interface Member {
  readonly host: HostReport;
  readonly interface: InterfaceFacts;
  readonly uplink: Uplink;
  /** Its addresses in the candidate's subnets, the best to connect to first. Never empty. */
  readonly addresses: readonly MemberAddress[];
}

export interface MemberAddress extends InterfaceAddress {
  /** Canonical. */
  readonly subnet: string;
}

/** Interfaces that seem to be on the same wires. Probes tell whether they are. */
export interface Candidate {
  /** IPv4 first; the first one names it. */
  readonly subnets: readonly string[];
  /** By host name, then interface name. */
  readonly members: readonly Member[];
}

export interface Candidates {
  readonly candidates: readonly Candidate[];
  readonly ignored: readonly IgnoredInterface[];
}

/** Before grouping: an interface of a host and those of its addresses that could be shared. */
type Place = Omit<Member, "addresses"> & { readonly addresses: readonly (MemberAddress & { readonly net: Subnet })[] };

/**
 * One candidate per IPv4 subnet, with the IPv6 subnets of the same interfaces merged into it; IPv6 subnets
 * that go with no IPv4 subnet make their own, again merged by interface. The order of `hosts` is without effect.
 */
export function findCandidates(hosts: readonly HostReport[]): Candidates {
  const ignored: IgnoredInterface[] = [];
  const places: Place[] = [];
  for (const host of hosts.toSorted((a, b) => compareTexts(a.name, b.name) || compareTexts(a.id, b.id))) {
    const uplinkOf = uplinks(host.facts?.interfaces ?? []);
    for (const each of host.facts?.interfaces.toSorted((a, b) => compareTexts(a.name, b.name)) ?? []) {
      const addresses = each.addresses.filter((address) => address.scope !== "other");
      if (each.loopback || addresses.length === 0) continue;
      const shareable = addresses.flatMap(toMemberAddress);
      const reason = reasonToIgnore(each, uplinkOf(each.name), shareable.length > 0);
      if (!reason) places.push({ host, interface: each, uplink: uplinkOf(each.name), addresses: shareable });
      else if (reason.code !== "idle") ignored.push(ignoredInterface(host, each, reason));
    }
  }
  return { candidates: group(places), ignored };
}

export function ignoredInterface(host: NetworkHost, each: InterfaceFacts, reason: IgnoredInterface["reason"]): IgnoredInterface {
  const addresses = each.addresses.map(({ address, prefix }) => `${address}/${prefix}`);
  return { hostId: host.id, host: host.name, interface: each.name, addresses, reason };
}

function reasonToIgnore(each: InterfaceFacts, uplink: Uplink, shareable: boolean): IgnoredInterface["reason"] | undefined {
  const linkLocalOnly = each.addresses.every(({ scope, family }) => scope === "link" && family === 6);
  // What every idle port and guest bridge has; nobody expects a network of it.
  if (linkLocalOnly && (each.master !== undefined || uplink !== "wire")) return { code: "idle", text: "no address" };
  if (each.master !== undefined) {
    return { code: "port", text: `a port of ${each.master}: an address belongs on ${each.master} itself` };
  }
  if (!shareable)
    return { code: "single-address", text: "only link-local or single addresses: give it one of a subnet that the hosts share" };
  if (uplink === "none") return { code: "internal", text: "it has no way out of the host: no port of it is real hardware or a tunnel" };
  return undefined;
}

/** Link-local addresses (RFC 3927, RFC 4291) are the same subnet everywhere, a single address is none. */
function toMemberAddress(each: InterfaceAddress): Place["addresses"][number][] {
  const parsed = parseAddress(each.address);
  if (!parsed || each.scope !== "global" || each.prefix >= (each.family === 4 ? 32 : 128) || each.prefix === 0) return [];
  const linkLocal = each.family === 4 ? parsed.value >> 16n === 0xa9fen : parsed.value >> 118n === 0x3fan;
  const net = subnetOf(parsed, each.prefix);
  return linkLocal ? [] : [{ ...each, net, subnet: formatSubnet(net) }];
}

function group(places: readonly Place[]): Candidate[] {
  const nets = new Map(places.flatMap((place) => place.addresses.map(({ net, subnet }) => [subnet, net] as const)));
  const members = new Map(
    [...nets.keys()].map((subnet) => [
      subnet,
      new Set(places.filter((place) => place.addresses.some((address) => address.subnet === subnet))),
    ]),
  );
  const bySize = [...nets.entries()].toSorted(
    ([a, netA], [b, netB]) =>
      netA.family - netB.family || (netA.family === 6 ? members.get(b)!.size - members.get(a)!.size : 0) || compareSubnets(netA, netB),
  );
  const groups: string[][] = [];
  for (const [subnet, net] of bySize) {
    const home = net.family === 6 ? mostShared(groups, members, subnet) : undefined;
    if (home) home.push(subnet);
    else groups.push([subnet]);
  }
  return groups.map((subnets) => toCandidate(subnets, places));
}

/** The group that shares most interfaces with an IPv6 subnet; the first of equals; undefined when none shares any. */
function mostShared(groups: string[][], members: ReadonlyMap<string, ReadonlySet<Place>>, subnet: string): string[] | undefined {
  const mine = members.get(subnet)!;
  let best: { readonly group: string[]; readonly shared: number } | undefined;
  for (const group of groups) {
    const shared = mine.intersection(members.get(group[0]!)!).size;
    if (shared > (best?.shared ?? 0)) best = { group, shared };
  }
  return best?.group;
}

function toCandidate(subnets: readonly string[], places: readonly Place[]): Candidate {
  const members = places
    .map((place) => ({ ...place, addresses: subnets.flatMap((subnet) => inSubnet(place, subnet)) }))
    .filter((place) => place.addresses.length > 0);
  return { subnets, members };
}

/** Stable addresses first, otherwise in the kernel's order, in which the primary one leads. */
function inSubnet(place: Place, subnet: string): MemberAddress[] {
  return place.addresses
    .filter((address) => address.subnet === subnet)
    .toSorted((a, b) => Number(b.stable) - Number(a.stable))
    .map(({ net: _net, ...address }) => address);
}

export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
