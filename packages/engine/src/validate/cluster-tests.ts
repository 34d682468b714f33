import { liveMigrationLimit } from "../network/settings.ts";
import type { Check } from "../model/reason.ts";
import { fail, notApplicable, pass, test, type ValidationFacts, type ValidationTest, warn } from "./model.ts";

/** Below this share of a pool that is free, it is nearly full. */
const nearlyFull = 0.1;

export function storageTests({ pools, hosts }: ValidationFacts): ValidationTest[] {
  const up = hosts.filter(({ state }) => state === "up");
  const states = pools.map((pool): Check => {
    const id = `${pool.host}: ${pool.name}`;
    if (!pool.active) return warn(id, "the pool is not active", `start it: virsh pool-start ${pool.name}`);
    const share = pool.availableBytes / Math.max(1, pool.capacityBytes);
    const text = `${Math.round(share * 100)} % of ${(pool.capacityBytes / 2 ** 30).toFixed(1)} GiB are free`;
    return share < nearlyFull ? warn(id, text, "free space, or grow it: guests stop when it is full") : pass(id, text);
  });
  const everywhere = [
    ...Map.groupBy(
      pools.filter(({ active }) => active),
      ({ name }) => name,
    ),
  ].map(([name, group]): Check => {
    const missing = up.filter(({ id }) => !group.some(({ hostId }) => hostId === id)).map(({ name }) => name);
    if (missing.length > 0)
      return warn(name, `not on ${missing.join(", ")}`, "guests with disks in it cannot go there; create it, if they should");
    return pass(name, `on all ${up.length} hosts`);
  });
  return [test("storage", "Pools", states), test("storage", "Same Pools Everywhere", everywhere)];
}

export function migrationTests({ paths, live, settings, hosts, trials }: ValidationFacts): ValidationTest[] {
  const ways = paths.map(({ source, destination, verdicts }): Check => {
    const id = `${source} → ${destination}`;
    const chain = verdicts.filter(({ rank }) => rank !== undefined);
    if (chain.length === 0)
      return fail(id, "no network may carry a migration", `see: godwit network list, and the exclusions of 'godwit live-migration get'`);
    const text = `over ${chain.map(({ network }) => network).join(", then ")}`;
    return chain.length > 1 ? pass(id, text) : warn(id, `${text} only: without it nothing moves`, "let a second network carry migrations");
  });
  const limits = settings.map(({ host, settings }): Check => {
    const limit = liveMigrationLimit(live, settings);
    return limit > 0
      ? pass(host, `at most ${limit} live migrations at a time`)
      : fail(host, "live migrations are limited to 0", "raise the limit: godwit host set --max-live-migrations");
  });
  const able = hosts.flatMap(({ name, facts }): Check[] => {
    if (!facts) return [];
    const { live: can, migrationTransports } = facts.capabilities;
    return [
      can
        ? pass(name, `its hypervisor migrates live (${migrationTransports.join(", ")})`)
        : fail(name, "its hypervisor does not migrate live", "use another driver, such as QEMU"),
    ];
  });
  const tried = notApplicable("tried", "no guest was moved for this report", "try it: godwit cluster validate --migrate");
  return [
    test("migration", "Hypervisors Can Migrate", able),
    test("migration", "A Network Between Every Pair", ways),
    test("migration", "Limits", limits),
    test("migration", "Migration Really Tried", trials ?? [tried]),
  ];
}

export function cpuTests({ cpu, hosts }: ValidationFacts): ValidationTest[] {
  const common: Check =
    cpu.document === undefined ? fail("common", cpu.text, "only hosts by one maker run each other's guests") : pass("common", cpu.text);
  const problems = cpu.hosts.flatMap(({ host, problem }) =>
    problem === undefined ? [] : [warn(host, `its CPU could not be asked: ${problem}`, "see: godwit doctor")],
  );
  const stopping = cpu.vms.map(({ vm, host, beyond, text }) =>
    warn(vm, `on ${host}, ${text} (${beyond.slice(0, 6).join(", ")})`, "godwit cpu baseline prints the CPU to put into its definition"),
  );
  const accelerated = hosts.flatMap(({ name, facts }): Check[] => {
    if (!facts) return [];
    const { kind, text } = facts.acceleration;
    return [kind === "kvm" ? pass(name, text) : warn(name, text, "enable virtualization in the firmware (in a VM: nested virtualization)")];
  });
  return [
    test("cpu", "Common CPU", [common, ...problems]),
    test(
      "cpu",
      "VMs Within the Common CPU",
      stopping.length > 0 ? stopping : [pass("vms", "no running VM was given more than the common CPU")],
    ),
    test("cpu", "Acceleration", accelerated),
  ];
}
