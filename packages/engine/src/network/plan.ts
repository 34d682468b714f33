import type { NetworkInterface, NetworkRecord, NetworkRole } from "../model/network.ts";
import { type Candidate, type Candidates, type HostReport, ignoredInterface, type Member } from "./candidates.ts";
import { identify } from "./identity.ts";
import { contains, parseAddress, parseSubnet } from "./ip.ts";
import type { ProbedLink } from "./links.ts";
import { automaticMetric, manualMetric } from "./metric.ts";
import type { ClusterNetwork, IgnoredInterface } from "./model.ts";
import { networkCondition } from "./state.ts";

export interface NetworkPlanInput {
  readonly hosts: readonly HostReport[];
  readonly found: Candidates;
  /** Every probed link, of all candidates. */
  readonly links: readonly ProbedLink[];
  readonly records: readonly NetworkRecord[];
  /** The role of a new network that has a gateway. */
  readonly defaultRole: NetworkRole;
}

export interface NetworkPlan {
  /** By name, numbers in their order. */
  readonly networks: readonly ClusterNetwork[];
  /** Records that are new or differ from what was given. */
  readonly changed: readonly NetworkRecord[];
  readonly ignored: readonly IgnoredInterface[];
}

/** Facts and probes in; networks, what to remember, and what was left out and why. Pure. */
export function planNetworks({ hosts, found, links, records, defaultRole }: NetworkPlanInput): NetworkPlan {
  const known = new Set(records.flatMap(({ subnets }) => subnets));
  const kept: Candidate[] = [];
  const ignored = [...found.ignored];
  for (const candidate of found.candidates) {
    const members = candidate.members.filter((member) => isShared(member, candidate, links, known));
    ignored.push(...candidate.members.filter((member) => !members.includes(member)).map((member) => notShared(member, candidate)));
    if (members.length > 0) kept.push({ ...candidate, members });
  }
  const traits = kept.map(({ subnets, members }) => ({
    subnets,
    gateway: members.some(({ host, interface: { name } }) => host.facts?.gatewayInterfaces.includes(name) ?? false),
    storage: hosts.some((host) => host.facts?.storageTargets.some((target) => inAny(subnets, target)) ?? false),
  }));
  const identities = identify(traits, records, defaultRole);
  const networks = kept.map((candidate, index) => toNetwork(candidate, identities[index]!, { gateway: traits[index]!.gateway, links }));
  return {
    networks: networks.toSorted((a, b) => a.name.localeCompare(b.name, "en", { numeric: true })),
    changed: identities.filter((record) => !records.includes(record)),
    ignored,
  };
}

/**
 * A bridge with only containers on it exists on many hosts with the same subnet and is shared by none: it
 * counts once the peer itself was seen to answer over it, and stays known from then on.
 */
function isShared(member: Member, { subnets }: Candidate, links: readonly ProbedLink[], known: ReadonlySet<string>): boolean {
  if (member.uplink === "wire" || subnets.some((subnet) => known.has(subnet))) return true;
  const { host, interface: each, addresses } = member;
  const own = new Set(addresses.map(({ address }) => address));
  return links.some(
    (link) =>
      link.proven &&
      ((link.fromHostId === host.id && link.fromInterface === each.name && own.has(link.fromAddress)) ||
        (link.toHostId === host.id && link.toInterface === each.name && own.has(link.toAddress))),
  );
}

function notShared(member: Member, { members, subnets }: Candidate): IgnoredInterface {
  const [address] = member.addresses;
  const twins = members.filter((other) => other.addresses.some((each) => each.address === address!.address)).map(({ host }) => host.name);
  const text =
    twins.length > 1
      ? `${twins.join(", ")} all have ${address!.address} on it: a bridge of each host's own, not a shared network`
      : `no other host was proven to be on ${subnets.join(", ")}, and the bridge has no real hardware below it`;
  return ignoredInterface(member.host, member.interface, { code: "not-shared", text });
}

function inAny(subnets: readonly string[], target: string): boolean {
  const address = parseAddress(target);
  return subnets.some((text) => {
    const subnet = parseSubnet(text);
    return subnet !== undefined && address !== undefined && contains(subnet, address);
  });
}

interface NetworkTraits {
  readonly gateway: boolean;
  readonly links: readonly ProbedLink[];
}

function toNetwork({ subnets, members }: Candidate, record: NetworkRecord, { gateway, links }: NetworkTraits): ClusterNetwork {
  const own = linksOf(members, links);
  const condition = networkCondition(members, own);
  const automatic = record.metric === undefined;
  const { metric, reason } = automatic ? automaticMetric(record.role, members) : manualMetric(record.metric);
  return {
    id: record.id,
    name: record.name,
    description: record.description,
    subnets: [...subnets],
    role: record.role,
    metric,
    autoMetric: automatic,
    metricReason: reason,
    state: condition.state,
    stateReason: condition.reason,
    interfaces: condition.members.map(({ member, state, reason }) => toInterface(record, member, { state, reason })),
    gateway,
    links: own.map(({ family: _family, proven: _proven, warning: _warning, ...link }) => link),
  };
}

/** Links between interfaces of these members, by addresses of these subnets, IPv4 first. */
function linksOf(members: readonly Member[], links: readonly ProbedLink[]): ProbedLink[] {
  const ends = new Set(
    members.flatMap(({ host, interface: each, addresses }) => addresses.map(({ address }) => `${host.id} ${each.name} ${address}`)),
  );
  return links
    .filter(
      (link) =>
        ends.has(`${link.fromHostId} ${link.fromInterface} ${link.fromAddress}`) &&
        ends.has(`${link.toHostId} ${link.toInterface} ${link.toAddress}`),
    )
    .toSorted((a, b) => a.family - b.family);
}

function toInterface(record: NetworkRecord, member: Member, condition: Pick<NetworkInterface, "state" | "reason">): NetworkInterface {
  const { host, interface: each, addresses } = member;
  return {
    networkId: record.id,
    network: record.name,
    hostId: host.id,
    host: host.name,
    interface: each.name,
    mac: each.mac,
    addresses: addresses.map(({ address, prefix }) => `${address}/${prefix}`),
    mtu: each.mtu,
    speedMbps: each.speedMbps,
    linkUp: each.enabled && each.carrier,
    ...condition,
  };
}
