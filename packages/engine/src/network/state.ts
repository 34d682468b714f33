import type { InterfaceState, NetworkState } from "../model/network.ts";
import type { Reason } from "../model/reason.ts";
import type { HostReport, Member } from "./candidates.ts";
import type { ProbedLink } from "./links.ts";

export interface MemberState {
  readonly member: Member;
  readonly state: InterfaceState;
  readonly reason: Reason;
}

export interface NetworkCondition {
  readonly state: NetworkState;
  readonly reason: Reason;
  readonly members: readonly MemberState[];
}

/** What two hosts are to each other on one network. `unknown`: neither direction could be looked at. */
type PairState = "connected" | "apart" | "unknown";
interface Pair {
  readonly a: HostReport;
  readonly b: HostReport;
  readonly state: PairState;
  readonly why: string;
}

const MAX_NAMED = 3;

/** The state of a network and of each interface on it, from facts and probed links. Pure. */
export function networkCondition(members: readonly Member[], links: readonly ProbedLink[]): NetworkCondition {
  const own = members.map((member) => ({ member, ...ownState(member) }));
  const hosts = [...Map.groupBy(members, ({ host }) => host.id).values()].map(([first]) => first!.host);
  const answering = hosts.filter((host) => host.state === "up");
  const pairs = answering.flatMap((a, at) => answering.slice(at + 1).map((b) => pairState(a, b, own, links)));
  const rows = own.map((row) => (row.state === "up" ? { ...row, ...reachState(row.member.host, own, pairs) } : row));
  return { ...overall(hosts, answering, { rows, pairs, notes: notes(members, links) }), members: rows };
}

/** What an interface is by itself: `up` here means only that nothing local is wrong. */
function ownState({ host, interface: each, addresses }: Member): { state: InterfaceState; reason: Reason } {
  if (host.state === "unavailable")
    return { state: "unavailable", reason: { code: "host", text: host.problem ?? `${host.name} is not up` } };
  if (host.state === "unknown") {
    return { state: "unknown", reason: { code: "facts", text: host.problem ?? `${host.name} does not tell its network facts` } };
  }
  if (!each.enabled) return failed("switched-off", `${each.name} of ${host.name} is switched off (ip link set ${each.name} up)`);
  if (!each.carrier) return failed("no-carrier", `${each.name} of ${host.name} has no link (cable or switch port)`);
  if (addresses.every(({ duplicate }) => duplicate))
    return failed("duplicate", `another machine uses ${addresses[0]!.address} of ${host.name} too`);
  return { state: "up", reason: { code: "up", text: "it has a link" } };
}

function failed(code: string, text: string): { state: InterfaceState; reason: Reason } {
  return { state: "failed", reason: { code, text } };
}

type Row = MemberState;

function pairState(a: HostReport, b: HostReport, rows: readonly Row[], links: readonly ProbedLink[]): Pair {
  for (const host of [a, b]) {
    const mine = rows.filter(({ member }) => member.host.id === host.id);
    if (mine.every(({ state }) => state === "failed")) return { a, b, state: "apart", why: mine[0]!.reason.text };
  }
  const forth = direction(a, b, links);
  const back = direction(b, a, links);
  const broken = [forth, back].find(({ result }) => result === "silent");
  if (broken) {
    const oneWay =
      forth.result === "reached"
        ? ` (though ${a.name} reaches ${b.name})`
        : back.result === "reached"
          ? ` (though ${b.name} reaches ${a.name})`
          : "";
    return { a, b, state: "apart", why: broken.text + oneWay };
  }
  if (forth.result === "reached" || back.result === "reached") return { a, b, state: "connected", why: "" };
  return { a, b, state: "unknown", why: forth.text };
}

function direction(from: HostReport, to: HostReport, links: readonly ProbedLink[]): { result: ProbedLink["result"]; text: string } {
  const mine = links.filter((link) => link.fromHostId === from.id && link.toHostId === to.id);
  for (const result of ["reached", "silent", "unknown"] as const) {
    const link = mine.find((each) => each.result === result);
    if (link) return { result, text: link.reason.text };
  }
  return { result: "silent", text: `${from.name} and ${to.name} have no two different addresses of one subnet to try` };
}

/**
 * An interface is to blame when its host reaches nobody, or misses somebody whom others do reach. One that
 * misses only hosts which are cut off from everybody stays up.
 */
function reachState(host: HostReport, rows: readonly Row[], pairs: readonly Pair[]): { state: InterfaceState; reason: Reason } {
  const mine = pairs.filter(({ a, b }) => a.id === host.id || b.id === host.id);
  const other = ({ a, b }: Pair): HostReport => (a.id === host.id ? b : a);
  const isFailed = (id: string): boolean => rows.filter(({ member }) => member.host.id === id).every(({ state }) => state === "failed");
  const live = mine.filter((pair) => !isFailed(other(pair).id));
  if (live.length === 0) return { state: "up", reason: { code: "alone", text: "it has a link; no other host is there to be reached" } };
  const apart = live.filter(({ state }) => state === "apart");
  const isolated = (id: string): boolean => pairs.every((pair) => (pair.a.id !== id && pair.b.id !== id) || pair.state === "apart");
  const blamed = isolated(host.id) ? apart : apart.filter((pair) => !isolated(other(pair).id));
  if (blamed.length > 0) return { state: "unreachable", reason: { code: "unreachable", text: list(blamed.map(({ why }) => why)) } };
  if (live.every(({ state }) => state === "unknown")) return { state: "unknown", reason: { code: "unprobed", text: live[0]!.why } };
  const names = live.filter(({ state }) => state === "connected").map((pair) => other(pair).name);
  const but = apart.length > 0 ? `, not ${apart.map((pair) => other(pair).name).join(", ")}, whom nobody reaches` : "";
  return { state: "up", reason: { code: "up", text: `reaches ${names.join(", ")}${but}` } };
}

interface Picture {
  readonly rows: readonly Row[];
  readonly pairs: readonly Pair[];
  readonly notes: readonly string[];
}

function overall(
  hosts: readonly HostReport[],
  answering: readonly HostReport[],
  picture: Picture,
): Pick<NetworkCondition, "state" | "reason"> {
  const { rows, pairs, notes } = picture;
  const away = hosts
    .filter((host) => !answering.includes(host))
    .map(({ name, state }) => `${name} is ${state === "unavailable" ? "not up" : "not telling its facts"}`);
  const say = (state: NetworkState, code: string, text: string): Pick<NetworkCondition, "state" | "reason"> => ({
    state,
    reason: { code, text: [text, ...away, ...notes].join("; ") },
  });
  if (answering.length === 0) return say("unavailable", "no-host", "no host with an interface on it can be asked");
  const [only] = answering;
  if (answering.length === 1) {
    const working = rows.find(({ member, state }) => member.host.id === only!.id && state !== "failed");
    if (!working) return say("down", "no-link", rows.find(({ member }) => member.host.id === only!.id)!.reason.text);
    return hosts.length === 1
      ? say("up", "one-host", `only ${only!.name} has an interface on it, so nothing can move over it`)
      : say("up", "one-host-up", `${only!.name} has a link and nobody to reach`);
  }
  const apart = pairs.filter(({ state }) => state === "apart");
  const connected = pairs.filter(({ state }) => state === "connected");
  if (connected.length === 0 && apart.length === 0) return say("unavailable", "unprobed", `nobody could probe it: ${pairs[0]!.why}`);
  if (connected.length === 0) return say("down", "down", `no two hosts reach each other: ${list(apart.map(({ why }) => why))}`);
  if (apart.length > 0) {
    const names = list(apart.map(({ a, b, why }) => `${a.name} and ${b.name} (${why})`));
    return say("partitioned", "partitioned", `cannot talk to each other: ${names}`);
  }
  const everyone = answering.length === 2 ? `${answering[0]!.name} and ${answering[1]!.name}` : `all ${answering.length} hosts`;
  return say("up", "up", `${everyone} reach each other`);
}

/** What works but should be mended. */
function notes(members: readonly Member[], links: readonly ProbedLink[]): string[] {
  const mtus = Map.groupBy(members, ({ interface: { mtu } }) => mtu);
  const mixed = [...mtus]
    .toSorted(([a], [b]) => b - a)
    .map(([mtu, of]) => `${mtu} on ${[...new Set(of.map(({ host }) => host.name))].join(", ")}`);
  const warnings = links.map(({ warning }) => warning).filter((warning) => warning !== undefined);
  return [
    ...(mtus.size > 1 ? [`warning: the MTU differs, ${mixed.join("; ")}`] : []),
    ...(warnings.length > 0 ? [`warning: ${list([...new Set(warnings)])}`] : []),
    ...deafFamilies(links),
  ];
}

/** One address family fails between hosts that reach each other by the other one. */
function deafFamilies(links: readonly ProbedLink[]): string[] {
  const byPair = Map.groupBy(links, ({ fromHostId, toHostId }) => `${fromHostId} ${toHostId}`);
  const halves = [...byPair.values()].flatMap((pair) => {
    const reached = new Set(pair.filter(({ result }) => result === "reached").map(({ family }) => family));
    const deaf = pair.find(({ family, result }) => result === "silent" && reached.size > 0 && !reached.has(family));
    return deaf ? [deaf.reason.text] : [];
  });
  return halves.length > 0 ? [`warning: one address family does not work: ${list(halves)}`] : [];
}

function list(texts: readonly string[]): string {
  const more = texts.length - MAX_NAMED;
  return texts.slice(0, MAX_NAMED).join("; ") + (more > 0 ? `; and ${more} more` : "");
}
