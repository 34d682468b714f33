import { judgeHost } from "../doctor/judge-host.ts";
import type { NetworkView } from "../model/network.ts";
import type { Check } from "../model/reason.ts";
import { fail, notApplicable, pass, test, type ValidationFacts, type ValidationTest, warn } from "./model.ts";

export function networkTests(facts: ValidationFacts): ValidationTest[] {
  const { networks, findings } = facts;
  const ports = findings.flatMap((finding) =>
    judgeHost(finding).filter(({ id }) => id.startsWith("port") || id.startsWith("migration-port")),
  );
  return [
    test("network", "Cluster Networks", networks.map(condition)),
    test("network", "Redundancy", redundancy(networks)),
    test("network", "Duplicate Addresses", duplicates(networks)),
    test("network", "Same MTU", networks.flatMap(mtu)),
    test("network", "Migration Ports", ports.length > 0 ? ports : [untried]),
  ];
}

const untried: Check = notApplicable("ports", "they were not tried", "validate again when no migration runs");

function condition({ name, state, stateReason, interfaces, subnets }: NetworkView): Check {
  const text = `${subnets.join(", ")} is ${state} on ${interfaces.length} interfaces: ${stateReason.text}`;
  if (state === "up") return pass(name, text);
  if (state === "partitioned") return warn(name, text, "see which hosts do not reach each other: godwit network show");
  return fail(name, text, "check cables, switches and addresses: godwit network show");
}

function redundancy(networks: readonly NetworkView[]): Check[] {
  const internal = networks.filter(({ role, state }) => role !== "none" && (state === "up" || state === "partitioned"));
  if (internal.length >= 2) return [pass("redundancy", `${internal.length} networks may carry cluster traffic`)];
  const text = internal.length === 1 ? `only ${internal[0]!.name} may carry cluster traffic` : "no network may carry cluster traffic";
  return [(internal.length === 1 ? warn : fail)("redundancy", text, "connect the hosts by a second network, or give one another role")];
}

function duplicates(networks: readonly NetworkView[]): Check[] {
  const all = networks.flatMap(({ interfaces }) =>
    interfaces.flatMap((row) => row.addresses.map((address) => ({ address, where: `${row.host} ${row.interface}` }))),
  );
  const twice = [...Map.groupBy(all, ({ address }) => address)].filter(([, group]) => group.length > 1);
  if (twice.length === 0) return all.length > 0 ? [pass("duplicates", `${all.length} addresses, each on one interface`)] : [];
  return twice.map(([address, group]) =>
    fail("duplicates", `${address} is on ${group.map(({ where }) => where).join(" and ")}`, "give each its own address"),
  );
}

function mtu({ name, interfaces }: NetworkView): Check[] {
  const groups = Map.groupBy(interfaces, (row) => row.mtu);
  if (groups.size <= 1) return interfaces.length > 0 ? [pass(name, `${interfaces[0]!.mtu} everywhere`)] : [];
  const text = [...groups].map(([size, rows]) => `${size} on ${rows.map(({ host }) => host).join(", ")}`).join("; ");
  return [warn(name, text, "set one MTU on the whole network: large packets get lost otherwise, and a migration hangs")];
}
