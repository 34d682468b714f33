import type { InterfaceFacts } from "./facts.ts";

/**
 * How far an interface reaches.
 *
 * - `wire`: to real hardware, a tunnel, or out of the namespace that is the host
 * - `unproven`: a bridge whose only ports are veth pairs: containers, or the way out of a host that is itself
 *   a container; only an answer from the peer itself tells them apart
 * - `none`: a bridge for guests (libvirt's virbr0, an empty docker0), a dummy: it ends on the host
 */
export type Uplink = "wire" | "unproven" | "none";

const order: readonly Uplink[] = ["none", "unproven", "wire"];
const overPorts = new Set(["bridge", "bond", "team"]);
const overLower = new Set(["vlan", "macvlan", "ipvlan", "macsec", "vrf"]);
const local = new Set(["dummy", "ifb", "nlmon", "bareudp", "vcan", "vsockmon"]);

export type UplinkOf = (name: string) => Uplink;

/** Looks through bridges, bonds and VLANs of one host. Loops, which a hostile host could claim, end as `none`. */
export function uplinks(interfaces: readonly InterfaceFacts[]): UplinkOf {
  const byName = new Map(interfaces.map((each) => [each.name, each]));
  const ports = Map.groupBy(interfaces, (each) => each.master);
  const known = new Map<string, Uplink>();

  const look = (name: string): Uplink => {
    const before = known.get(name);
    if (before) return before;
    known.set(name, "none");
    const found = byName.get(name);
    const uplink = found ? classify(found) : "none";
    known.set(name, uplink);
    return uplink;
  };
  const classify = (each: InterfaceFacts): Uplink => {
    if (each.loopback) return "none";
    if (each.kind === undefined) return "wire";
    if (local.has(each.kind)) return "none";
    if (overPorts.has(each.kind)) return best((ports.get(each.name) ?? []).map((port) => portUplink(port)));
    if (overLower.has(each.kind)) return each.lowerElsewhere ? "wire" : look(each.lower ?? "");
    if (each.kind === "veth") return each.lowerElsewhere ? "wire" : "none";
    if (each.kind === "openvswitch") return best(interfaces.filter((port) => isOpenVswitchPort(port)).map((port) => look(port.name)));
    return "wire";
  };
  const portUplink = (port: InterfaceFacts): Uplink => {
    if (port.kind === "veth") return port.lowerElsewhere ? "unproven" : "none";
    return port.kind === "tun" ? "none" : look(port.name);
  };
  const isOpenVswitchPort = (port: InterfaceFacts): boolean =>
    port.master !== undefined && byName.get(port.master)?.kind === "openvswitch" && port.kind !== "veth" && port.kind !== "tun";
  return look;
}

function best(found: readonly Uplink[]): Uplink {
  return found.reduce<Uplink>((sofar, uplink) => (order.indexOf(uplink) > order.indexOf(sofar) ? uplink : sofar), "none");
}
