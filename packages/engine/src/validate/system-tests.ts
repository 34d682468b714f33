import { judgeHost } from "../doctor/judge-host.ts";
import type { Check } from "../model/reason.ts";
import { fail, notApplicable, pass, test, type ValidationFacts, type ValidationTest, warn } from "./model.ts";

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

export function inventoryTests({ hosts, vms }: ValidationFacts): ValidationTest[] {
  const listed = hosts.map(({ name, facts }) =>
    facts
      ? pass(
          name,
          `${facts.cpu.model ?? facts.cpu.arch}, ${facts.cpu.count} CPUs, ${gib(facts.memoryBytes)}, libvirt ${facts.versions.libvirt}, ${facts.versions.hypervisor ?? "unknown hypervisor"}`,
        )
      : notApplicable(name, "it has not said yet what it is", "wait until it was reached once"),
  );
  const twice = Map.groupBy(vms, ({ id }) => id);
  const copies = [...twice.values()].filter((copies) => copies.length > 1);
  const unique = copies.map((copies) =>
    fail(
      "running-twice",
      `${copies[0]!.name} is on ${copies.map(({ host }) => host).join(" and ")}`,
      "find out which is the real one, and remove the other",
    ),
  );
  const sameName = [...Map.groupBy(vms, ({ name }) => name)].filter(([, group]) => new Set(group.map(({ id }) => id)).size > 1);
  const names = sameName.map(([name, group]) =>
    warn(
      "same-name",
      `${group.length} VMs are called ${name} (on ${group.map(({ host }) => host).join(", ")})`,
      "rename them: they cannot be on one host together",
    ),
  );
  return [
    test("inventory", "List Hosts", listed),
    test(
      "inventory",
      "List VMs",
      unique.length + names.length > 0
        ? [...unique, ...names]
        : [pass("vms", `${vms.length} VMs, each on one host, each with a name of its own`)],
    ),
  ];
}

export function systemTests({ hosts, findings }: ValidationFacts): ValidationTest[] {
  const known = hosts.flatMap(({ name, facts }) => (facts ? [{ name, facts }] : []));
  const judged = findings.map((finding) => ({ host: finding.host.name, checks: judgeHost(finding) }));
  const of = (...ids: readonly string[]): Check[] =>
    judged.flatMap(({ host, checks }) =>
      checks.filter(({ id }) => ids.includes(id)).map((check) => ({ ...check, id: `${host}: ${check.id}` })),
    );
  return [
    test("system", "Hosts Answer", of("reachable")),
    test(
      "system",
      "Same Processor Architecture",
      same(
        known.map(({ name, facts }) => [name, facts.cpu.arch]),
        "architecture",
        "fail",
        "guests move only between hosts of one architecture",
      ),
    ),
    test(
      "system",
      "libvirt Versions",
      same(
        known.map(({ name, facts }) => [name, facts.versions.libvirt]),
        "libvirt",
        "warn",
        "upgrade the older ones: guests do not always move from newer to older",
      ),
    ),
    test(
      "system",
      "Hypervisor Versions",
      same(
        known.map(({ name, facts }) => [name, facts.versions.hypervisor ?? "unknown"]),
        "hypervisor",
        "warn",
        "upgrade the older ones: machine types of newer ones are unknown to them",
      ),
    ),
    test("system", "Time", of("time")),
    test("system", "Names", of("hostname", "keepalive")),
    test("access", "Shell and Tools", of("shell", "tools")),
  ];
}

/** Whether all hosts say the same of themselves. */
function same(
  values: readonly (readonly [host: string, value: string])[],
  id: string,
  otherwise: "warn" | "fail",
  remedy: string,
): Check[] {
  const groups = Map.groupBy(values, ([, value]) => value);
  if (groups.size <= 1) return values.length === 0 ? [] : [pass(id, `${values[0]![1]} on all ${values.length} hosts`)];
  const text = [...groups].map(([value, hosts]) => `${value} on ${hosts.map(([host]) => host).join(", ")}`).join("; ");
  return [(otherwise === "fail" ? fail : warn)(id, text, remedy)];
}
