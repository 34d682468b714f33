import type { Member } from "./candidates.ts";
import { formatSubnet, parseAddress, subnetOf } from "./ip.ts";
import type { NetworkLink } from "./model.ts";
import type { ProbeAnswer } from "./parse-probe.ts";
import type { ProbeTarget } from "./probe.ts";

/** A probed link, and whether it was really the peer that answered. */
export interface ProbedLink extends NetworkLink {
  readonly family: 4 | 6;
  /** The answering MAC is one of the peer's: the two interfaces are on the same wires. */
  readonly proven: boolean;
  /** Something an admin should mend although it works. */
  readonly warning?: string | undefined;
}

/** `answer` is undefined when the host could not be asked; `problem` then says why. */
export function toLink(target: ProbeTarget, answer: ProbeAnswer | undefined, problem?: string): ProbedLink {
  const { from, fromAddress, to, toAddress } = target;
  const ends = {
    fromHostId: from.host.id,
    fromInterface: from.interface.name,
    fromAddress: fromAddress.address,
    toHostId: to.host.id,
    toInterface: to.interface.name,
    toAddress: toAddress.address,
    family: toAddress.family,
  };
  if (!answer) return { ...ends, ...unknown(problem ?? `${from.host.name} was not asked`) };
  return { ...ends, ...judge(target, answer) };
}

type Judgement = Pick<ProbedLink, "result" | "reason" | "proven" | "warning">;

/**
 * An answer counts only when it came by this network and from the peer itself: another machine with the same
 * address, such as a container behind a bridge that every host has, must not pass for the peer.
 */
function judge({ from, to, toAddress, port }: ProbeTarget, answer: ProbeAnswer): Judgement {
  const peer = `${to.host.name} (${toAddress.address})`;
  const { route, mac } = answer;
  if (answer.why === "notool") return unknown(`${from.host.name} has neither ping nor bash with timeout to probe with`);
  if (!route) return silent("no-route", `${from.host.name} has no route to ${peer}`);
  if (route.gateway) return silent("other-way", `the way from ${from.host.name} to ${peer} leads over a gateway`);
  if (!sameNetwork(from, toAddress.subnet, route.device)) {
    return silent("other-way", `the way from ${from.host.name} to ${peer} leaves by ${route.device}`);
  }
  const proven = mac !== undefined && macsOf(to).has(mac);
  if (mac !== undefined && !proven) {
    return silent(
      "impostor",
      `${mac} answers at ${toAddress.address}, which is no interface of ${to.host.name}: an address in use twice, or proxy ARP`,
    );
  }
  if (answer.way === "none") return noAnswer(from, peer, waysTried(from, answer, port), proven);
  const how = { ping: "ping", tcp: `TCP port ${port}`, refused: `TCP port ${port} (refused, so it is there)` }[answer.way];
  const warning =
    answer.jumbo === false ? `frames of ${from.interface.mtu} bytes do not pass from ${from.host.name} to ${to.host.name}` : undefined;
  return {
    result: "reached",
    reason: { code: `reached-${answer.way}`, text: `${from.host.name} reaches ${peer}, by ${how}` },
    proven,
    warning,
  };
}

function waysTried(from: Member, { why }: ProbeAnswer, port: number): string {
  if (why === "silent") return "ping";
  return from.host.facts?.probes.ping === false ? `TCP port ${port}` : `ping and TCP port ${port}`;
}

function noAnswer({ host }: Member, peer: string, ways: string, proven: boolean): Judgement {
  if (!proven) return silent("silent", `${host.name} hears nothing from ${peer} by ${ways}`);
  return silent("filtered", `${peer} is on the wire for ${host.name} but does not answer ${ways}: a firewall?`);
}

/** The kernel may send by another interface of the host that has an address in the same subnet. */
function sameNetwork({ host, interface: { name } }: Member, subnet: string, device: string): boolean {
  if (device === name) return true;
  const other = host.facts?.interfaces.find((each) => each.name === device);
  return other?.addresses.some(({ address, prefix }) => subnetText(address, prefix) === subnet) ?? false;
}

function subnetText(address: string, prefix: number): string | undefined {
  const parsed = parseAddress(address);
  return parsed && formatSubnet(subnetOf(parsed, prefix));
}

function macsOf({ host }: Member): Set<string> {
  const all = host.facts?.interfaces.flatMap(({ mac, permanentMac, loopback }) => (loopback ? [] : [mac, permanentMac])) ?? [];
  return new Set(all.filter((mac) => mac !== undefined));
}

function silent(code: string, text: string): Judgement {
  return { result: "silent", reason: { code, text }, proven: false };
}

function unknown(text: string): Judgement {
  return { result: "unknown", reason: { code: "unknown", text }, proven: false };
}
