import type { HostMigrationNetwork, HostMigrationSettings, LiveMigrationSettings, NetworkVerdict } from "../model/network.ts";
import type { Reason } from "../model/reason.ts";
import { compareSubnetTexts, contains, parseAddress, parseSubnet } from "./ip.ts";
import type { ClusterNetwork, NetworkHost, NetworkLink } from "./model.ts";

export interface NetworkSelection {
  readonly source: NetworkHost;
  readonly destination: NetworkHost;
  readonly networks: readonly ClusterNetwork[];
  readonly live: Pick<LiveMigrationSettings, "order" | "exclude">;
  /** Of the destination: a host's list governs what comes in. */
  readonly destinationSettings: Pick<HostMigrationSettings, "useAnyNetwork" | "networks">;
  /** What the settings and the host's list are called; those of migrations when absent. */
  readonly words?: SelectionWords | undefined;
}

export interface SelectionWords {
  /** `live-migration settings` */
  readonly settings: string;
  /** `migration networks` */
  readonly list: string;
  /** What the list decides about: `what comes in`. */
  readonly governed: string;
}

const migrationWords: SelectionWords = {
  settings: "live-migration settings",
  list: "migration networks",
  governed: "what comes in",
};

/** A network that may carry the migration, by which link, and what puts it at its place. */
interface Candidate {
  readonly network: ClusterNetwork;
  readonly link: NetworkLink;
  readonly entry: HostMigrationNetwork | undefined;
  /** Compared from left to right, smaller first. */
  readonly place: readonly number[];
  readonly because: Reason;
}

type Assessment = { readonly out: Reason } | { readonly link: NetworkLink; readonly entry: HostMigrationNetwork | undefined };

/**
 * Every network with its place in the fallback chain of one migration, best first, then those that are out.
 * Each network gets exactly one verdict; ranks run from 1 without a gap; the first is `chosen`.
 *
 * The rules, and the order in which they win, are in docs/guides/networks.md.
 */
export function selectMigrationNetworks(selection: NetworkSelection): NetworkVerdict[] {
  const inDefaultOrder = defaultOrder(selection.networks);
  const candidates: Candidate[] = [];
  const out: NetworkVerdict[] = [];
  for (const [index, { network, because }] of inDefaultOrder.entries()) {
    const assessment = assess(network, selection);
    if ("out" in assessment) {
      out.push(outVerdict(network, assessment.out));
      continue;
    }
    const placed = place(network, assessment.entry, { index, because }, selection);
    candidates.push({ network, ...assessment, ...placed });
  }
  candidates.sort((a, b) => comparePlaces(a.place, b.place));
  return [...candidates.map((candidate, index) => rankedVerdict(candidate, index + 1)), ...out];
}

interface Ordered {
  readonly network: ClusterNetwork;
  readonly because: Reason;
}

/**
 * The order that holds where nobody decided: networks without a gateway first, each group by metric, ties by
 * subnet; but the one that cluster traffic prefers (lowest metric of all) last, if another network without a
 * gateway can go first in its stead.
 */
export function defaultOrder(networks: readonly ClusterNetwork[]): Ordered[] {
  const byMetric = networks.toSorted((a, b) => a.metric - b.metric || compareSubnetTexts(a.subnets[0] ?? "", b.subnets[0] ?? ""));
  const internal = byMetric.filter((network) => network.role !== "none" && (network.state === "up" || network.state === "partitioned"));
  const preferred = internal[0];
  const yields = preferred !== undefined && !preferred.gateway && internal.some((other) => other !== preferred && !other.gateway);
  const last = yields || preferred?.gateway ? preferred : undefined;
  const ordered = byMetric.filter((network) => network !== last).toSorted((a, b) => Number(a.gateway) - Number(b.gateway));
  return [...ordered, ...(last ? [last] : [])].map((network) => ({ network, because: defaultReason(network, network === last) }));
}

function defaultReason(network: ClusterNetwork, last: boolean): Reason {
  if (last) {
    return {
      code: "cluster-traffic-last",
      text: `by metric; cluster traffic prefers it (lowest metric, ${network.metric}), so it comes last`,
    };
  }
  const kind = network.gateway ? "it has a gateway, so those without come first" : "networks without a gateway come first";
  return { code: "metric", text: `by metric ${network.metric}; ${kind}` };
}

function assess(network: ClusterNetwork, selection: NetworkSelection): Assessment {
  const { source, destination, live, words = migrationWords } = selection;
  const out = (code: string, text: string): Assessment => ({ out: { code, text } });
  if (live.exclude.includes(network.id)) return out("excluded", `excluded by the cluster's ${words.settings}`);
  if (network.role === "none") return out("role-none", "its role is none, so Godwit may not use it");
  if (source.id === destination.id) return out("same-host", "source and destination are the same host");
  for (const [host, code] of [
    [source, "no-source-address"],
    [destination, "no-destination-address"],
  ] as const) {
    if (!network.interfaces.some((row) => row.hostId === host.id)) return out(code, `${host.name} has no address on it`);
  }
  const links = network.links.filter((link) => link.fromHostId === source.id && link.toHostId === destination.id);
  const reached = links.filter((link) => link.result === "reached");
  if (reached.length === 0) return out("unreachable", unreachableText(network, { source, destination, links }));
  return admit(reached, selection);
}

interface Between {
  readonly source: NetworkHost;
  readonly destination: NetworkHost;
  readonly links: readonly NetworkLink[];
}

function unreachableText(network: ClusterNetwork, { source, destination, links }: Between): string {
  for (const host of [source, destination]) {
    const rows = network.interfaces.filter((row) => row.hostId === host.id);
    const bad = rows.every((row) => row.state === "failed" || row.state === "unavailable") ? rows[0] : undefined;
    if (bad) return bad.reason.text;
  }
  const why = (links.find((link) => link.result === "silent") ?? links[0])?.reason.text;
  return `${source.name} does not reach ${destination.name} over it${why === undefined ? "" : `: ${why}`}`;
}

/** Applies the destination's list: the entry that comes first decides which of its addresses is taken. */
function admit(
  reached: readonly NetworkLink[],
  { destination, destinationSettings: settings, words = migrationWords }: NetworkSelection,
): Assessment {
  const matches = settings.networks
    .flatMap((entry) => reached.filter((link) => entryCovers(entry, link.toAddress)).map((link) => ({ entry, link })))
    .toSorted((a, b) => a.entry.priority - b.entry.priority || prefixOf(b.entry) - prefixOf(a.entry));
  const [match] = matches;
  if (match) return match;
  if (settings.useAnyNetwork || settings.networks.length === 0) return { link: reached[0]!, entry: undefined };
  return { out: { code: "not-listed", text: `not among ${destination.name}'s ${words.list}, which govern ${words.governed}` } };
}

function entryCovers(entry: HostMigrationNetwork, address: string): boolean {
  const [subnet, parsed] = [parseSubnet(entry.subnet), parseAddress(address)];
  return subnet !== undefined && parsed !== undefined && contains(subnet, parsed);
}

const prefixOf = (entry: HostMigrationNetwork): number => parseSubnet(entry.subnet)?.prefix ?? 0;

function place(
  network: ClusterNetwork,
  entry: HostMigrationNetwork | undefined,
  byDefault: { readonly index: number; readonly because: Reason },
  { live, destination, words = migrationWords }: NetworkSelection,
): Pick<Candidate, "place" | "because"> {
  const position = live.order.indexOf(network.id);
  if (position >= 0) {
    return { place: [0, position], because: { code: "cluster-order", text: `${ordinal(position + 1)} in the cluster's order` } };
  }
  if (entry) {
    const text = `priority ${entry.priority} in ${destination.name}'s ${words.list} (${entry.subnet})`;
    return { place: [1, entry.priority, byDefault.index], because: { code: "host-priority", text } };
  }
  return { place: [2, 0, byDefault.index], because: byDefault.because };
}

function comparePlaces(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function rankedVerdict({ network, link, because }: Candidate, rank: number): NetworkVerdict {
  const verdict = rank === 1 ? "chosen" : "fallback";
  return {
    networkId: network.id,
    network: network.name,
    rank,
    verdict,
    reason: { code: because.code, text: `${verdict}: ${because.text}` },
    sourceInterface: link.fromInterface,
    sourceAddress: link.fromAddress,
    destinationInterface: link.toInterface,
    destinationAddress: link.toAddress,
  };
}

function outVerdict(network: ClusterNetwork, reason: Reason): NetworkVerdict {
  return { networkId: network.id, network: network.name, verdict: "out", reason: { code: reason.code, text: `out: ${reason.text}` } };
}

function ordinal(n: number): string {
  const words = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
  return words[n - 1] ?? `number ${n}`;
}
