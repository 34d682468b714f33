import fc from "fast-check";
import type { Site, SiteHost, SiteVm } from "../../src/placement/model.ts";
import type { PlacementRule } from "../../src/placement/rules.ts";
import { gib, siteOf } from "../placement/sites.ts";

/** Small clusters, tight on memory, with every kind of hard rule; `h0` is the host to be emptied. */
export function randomSite(maximum: { readonly hosts: number; readonly vms: number }): fc.Arbitrary<Site> {
  const vm = fc.record({
    on: fc.integer({ min: 0, max: maximum.hosts - 1 }),
    memory: fc.integer({ min: 1, max: 4 }),
    vcpus: fc.integer({ min: 1, max: 4 }),
    state: fc.constantFrom<SiteVm["state"]>("running", "running", "running", "off", "paused"),
    team: fc.constantFrom("red", "blue", "none"),
    local: fc.constantFrom(0, 0, 0, 2),
  });
  const host = fc.record({
    memory: fc.integer({ min: 2, max: 10 }),
    measured: fc.option(fc.integer({ min: 0, max: 8 }), { nil: undefined }),
    pool: fc.integer({ min: 0, max: 4 }),
    state: fc.constantFrom<SiteHost["state"]>("up", "up", "up", "up", "lost"),
    network: fc.boolean(),
  });
  return fc
    .record({
      hosts: fc.array(host, { minLength: 2, maxLength: maximum.hosts }),
      vms: fc.array(vm, { minLength: 1, maxLength: maximum.vms }),
      enforce: fc.boolean(),
      possible: fc.subarray([0, 1, 2, 3], { minLength: 1 }),
      soft: fc.constantFrom<Partial<PlacementRule>>(
        {},
        { spreadOver: "hosts" },
        { keepTogether: "host" },
        { preferredHosts: ["h2", "h1"] },
      ),
    })
    .map(({ hosts, vms, enforce, possible, soft }) =>
      siteOf({
        hosts: hosts.map(({ memory, measured, pool, state, network }, index) => ({
          name: `h${index}`,
          state: index === 0 ? "up" : state,
          memoryBytes: memory * gib,
          freeMemoryBytes: measured === undefined ? undefined : measured * gib,
          cpus: 2,
          pools: pool > 0 ? new Map([["local", pool * gib]]) : new Map(),
          guestNetworks: network ? new Set(["lan"]) : undefined,
        })),
        vms: vms.map(({ on, memory, vcpus, state, team, local }, index) => ({
          name: `${team}${index}`,
          on: `h${on % hosts.length}`,
          memoryBytes: memory * gib,
          vcpus: Math.min(2, vcpus),
          state,
          localDisks: local > 0 ? { pool: "local", bytes: local * gib } : undefined,
        })),
        settings: {
          rules: [
            { name: "reds", vms: { names: ["red*"] }, keepApart: enforce ? "enforce" : "prefer" },
            { name: "blues", vms: { names: ["blue*"] }, possibleHosts: possible.map((index) => `h${index}`), ...soft },
          ],
        },
      }),
    );
}

/** Whether the VMs may be on these hosts, by plain counting: nothing of the planner's own is used. */
export function complaint(site: Site, moves: ReadonlyMap<string, string>): string | undefined {
  const moved = (vm: SiteVm): string => moves.get(vm.id) ?? vm.hostId;
  const runs = site.vms.filter(({ state }) => state !== "off" && state !== "crashed");
  for (const host of site.hosts) {
    const arriving = runs.filter((vm) => moves.has(vm.id) && moved(vm) === host.id);
    if (arriving.length === 0) continue;
    const sum = (vms: readonly SiteVm[]): number => vms.reduce((total, vm) => total + vm.memoryBytes, 0);
    const guests = runs.filter((vm) => moved(vm) === host.id);
    if (host.state !== "up" || host.closed) return `${host.name} is not open`;
    if (sum(guests) > host.memoryBytes) return `${host.name} has no room`;
    if (sum(arriving) > (host.freeMemoryBytes ?? Infinity)) return `${host.name} has no room by measure`;
    const copied = arriving.reduce((total, vm) => total + (vm.localDisks?.bytes ?? 0), 0);
    if (copied > 0 && copied > (host.pools.get("local") ?? 0)) return `the pool of ${host.name} is too small`;
    for (const vm of arriving) {
      if (vm.policy.possibleHosts.some(({ hosts }) => !hosts.has(host.id))) return `${vm.name} may not be on ${host.name}`;
      if (vm.vcpus > host.cpus) return `${vm.name} has too many vCPUs for ${host.name}`;
      for (const { rule } of vm.policy.apart.filter(({ enforced }) => enforced)) {
        const mates = guests.filter((other) => other !== vm && other.policy.apart.some((one) => one.rule === rule));
        if (mates.length > 0) return `${vm.name} is together with ${mates[0]?.name} on ${host.name}`;
      }
    }
  }
  return undefined;
}

/** Whether any way exists to place all of these VMs: tries every one. */
export function someWayExists(site: Site, vms: readonly SiteVm[], moves: ReadonlyMap<string, string> = new Map()): boolean {
  const [vm, ...rest] = vms;
  if (!vm) return true;
  return site.hosts.some((host) => {
    if (host.id === vm.hostId) return false;
    const next = new Map(moves).set(vm.id, host.id);
    if (vm.localDisks && !host.pools.has("local")) return false;
    // VMs that are not placed yet are counted nowhere: they leave the host that is emptied.
    return complaint(site, next) === undefined && someWayExists(site, rest, next);
  });
}
