import { findCandidates, type HostReport } from "../../src/network/candidates.ts";
import type { HostNetworkFacts, InterfaceAddress, InterfaceFacts } from "../../src/network/facts.ts";
import { type ProbedLink, toLink } from "../../src/network/links.ts";
import type { ProbeAnswer } from "../../src/network/parse-probe.ts";
import { type NetworkPlan, planNetworks } from "../../src/network/plan.ts";
import { planProbes, type ProbeTarget } from "../../src/network/probe.ts";
import type { NetworkRecord } from "../../src/model/network.ts";

/** Facts of hosts that exist only in a test. */
export interface HostSketch {
  readonly name: string;
  readonly interfaces: readonly InterfaceFacts[];
  readonly gateway?: readonly string[];
  readonly storage?: readonly string[];
  readonly state?: HostReport["state"];
  readonly problem?: string;
}

export function address(text: string, more: Partial<InterfaceAddress> = {}): InterfaceAddress {
  const [ip = "", prefix = ""] = text.split("/");
  const family = ip.includes(":") ? 6 : 4;
  const scope = ip.startsWith("fe80") ? "link" : "global";
  return { family, address: ip, prefix: Number(prefix), scope, stable: true, duplicate: false, ...more };
}

export function nic(name: string, addresses: readonly (string | InterfaceAddress)[], more: Partial<InterfaceFacts> = {}): InterfaceFacts {
  return {
    name,
    loopback: false,
    enabled: true,
    carrier: true,
    pointToPoint: false,
    mtu: 1500,
    rdma: false,
    lowerElsewhere: false,
    addresses: addresses.map((each) => (typeof each === "string" ? address(each) : each)),
    ...more,
  };
}

/** Every interface gets a MAC of its own, so that who answered can be told. */
export function reports(sketches: readonly HostSketch[]): HostReport[] {
  return sketches.map(({ name, interfaces, gateway = [], storage = [], state = "up", problem }, host) => {
    const facts: HostNetworkFacts = {
      interfaces: interfaces.map((each, index) => ({ mac: `02:00:00:00:${hex(host)}:${hex(index)}`, ...each })),
      gatewayInterfaces: gateway,
      storageTargets: storage,
      probes: { ping: true, tcp: true },
    };
    return { id: `id-${name}`, name, state, problem, facts };
  });
}

const hex = (value: number): string => value.toString(16).padStart(2, "0");

export type Answer = (target: ProbeTarget) => Partial<ProbeAnswer> | undefined;

/** A peer that is there: it answers ping by the interface that the probe should leave by. */
export function reached({ from, to }: ProbeTarget): ProbeAnswer {
  return { way: "ping", why: undefined, jumbo: undefined, route: { device: from.interface.name, gateway: false }, mac: to.interface.mac };
}

export const silence = { way: "none", why: "timeout", mac: undefined } as const;

/** Facts to networks; `answer` may change what a probe finds, from a peer that answers. */
export function plan(sketches: readonly HostSketch[], records: readonly NetworkRecord[] = [], answer: Answer = () => ({})): NetworkPlan {
  const hosts = reports(sketches);
  const found = findCandidates(hosts);
  const links: ProbedLink[] = [...planProbes(found.candidates, () => 22).values()].flat().map((target) => {
    const changed = answer(target);
    return toLink(target, changed && { ...reached(target), ...changed }, "ssh: connection lost");
  });
  return planNetworks({ hosts, found, links, records, defaultRole: "cluster-and-client" });
}

/** The plan as an admin would read it. */
export function describe({ networks, ignored }: NetworkPlan): string[] {
  return [
    ...networks.flatMap(({ name, subnets, role, metric, state, stateReason, interfaces }) => [
      `${name}: ${subnets.join(" + ")}, ${role}, metric ${metric}, ${state}: ${stateReason.text}`,
      ...interfaces.filter((row) => row.state !== "up").map((row) => `  ${row.host} ${row.interface} ${row.state}: ${row.reason.text}`),
    ]),
    ...ignored.map(({ host, interface: name, reason }) => `ignored ${host} ${name}: ${reason.text}`),
  ];
}

/** Hosts alpha, bravo, charlie… with a management network that has the gateway, and what `more` adds. */
export function hosts(count: number, more: (name: string, number: number) => readonly InterfaceFacts[]): HostSketch[] {
  const names = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot"].slice(0, count);
  return names.map((name, index) => ({
    name,
    interfaces: [nic("eth0", [`10.0.0.${index + 1}/24`], { speedMbps: 1000 }), ...more(name, index + 1)],
    gateway: ["eth0"],
  }));
}
