/**
 * Plans of simulated clusters, up to 64 hosts and 8,000 VMs with rules, 80 % full: a host's drain, everything
 * a server does for it from the inventory's facts on, by the wall clock; and the memory of the process.
 *
 *   npm run bench -- planning [--rounds N]
 */
import { parseArgs } from "node:util";
import { planBalance } from "../packages/engine/src/planning/balance.ts";
import { planDrain } from "../packages/engine/src/planning/drain.ts";
import { policiesOf } from "../packages/engine/src/placement/policy.ts";
import type { Site, SiteHost, SiteVm } from "../packages/engine/src/placement/model.ts";
import type { PlacementRule, PlacementSettings } from "../packages/engine/src/placement/rules.ts";
import { median } from "./report.ts";

const gib = 2 ** 30;
const vmsPerHost = 125;

/** Mulberry32: the same clusters in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function settingsOf(hosts: number): PlacementSettings {
  const rules: PlacementRule[] = [];
  for (let team = 0; team < hosts; team += 1) {
    rules.push({ name: `apart-${team}`, vms: { names: [`team${team}-db*`] }, keepApart: "enforce", priority: "high" });
    rules.push({ name: `spread-${team}`, vms: { tags: [`team${team}`] }, spreadOver: "hosts" });
  }
  rules.push({
    name: "licensed",
    vms: { names: ["*-lic?"] },
    possibleHosts: Array.from({ length: Math.ceil(hosts / 2) }, (_, n) => `host${n}`),
  });
  const tags = Array.from({ length: hosts }, (_, team) => ({ vms: [`team${team}-web*`], tags: [`team${team}`] }));
  return { sites: {}, tags, rules, profiles: [] };
}

/** As the gatherer makes it of the inventory, policies included. */
function simulate(hosts: number, seed: number): Site {
  const next = random(seed);
  const settings = settingsOf(hosts);
  const views: SiteHost[] = Array.from({ length: hosts }, (_, n) => ({
    id: `host${n}`,
    name: `host${n}`,
    state: "up",
    memoryBytes: vmsPerHost * 4 * gib * 1.25,
    cpus: 128,
    arch: "x86_64",
    features: new Set(["avx", "avx2", "sse4.2"]),
    pools: new Map(),
  }));
  const policy = policiesOf(settings, views);
  const vms: SiteVm[] = Array.from({ length: hosts * vmsPerHost }, (_, n) => {
    const team = n % hosts;
    const role = n % 50 === 7 ? "db" : n % 50 === 9 ? "lic" : "web";
    const vm = {
      id: `vm${n}`,
      name: `team${team}-${role}${role === "lic" ? "1" : n}`,
      hostId: `host${Math.floor(n / vmsPerHost)}`,
      state: "running" as const,
      memoryBytes: Math.ceil(next() * 7.5) * gib,
      vcpus: 1 + Math.floor(next() * 4),
      features: ["avx"],
      guestNetworks: [],
    };
    return { ...vm, policy: policy(vm) };
  });
  return { hosts: views, vms, path: () => ({ networkId: "n", network: "migration", bytesPerSecond: 1.25e9 }) };
}

export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { rounds: { type: "string", default: "9" } } });
  for (const hosts of [8, 16, 32, 64]) {
    const drains: number[] = [];
    const balances: number[] = [];
    let moved = 0;
    let left = 0;
    for (let round = 0; round < Number(values.rounds); round += 1) {
      const began = performance.now();
      const site = simulate(hosts, round + 1);
      const plan = planDrain({
        site,
        hostId: `host${round % hosts}`,
        limit: () => 4,
        cost: (vm) => ({ overheadMs: 1500, bytes: vm.memoryBytes, dirtyBytesPerSecond: 10e6, bytesPerSecond: 1.25e9 }),
      });
      drains.push(performance.now() - began);
      moved += plan.entries.filter(({ verdict }) => verdict === "move").length;
      left += plan.entries.filter(({ verdict }) => verdict === "blocked").length;
      const between = performance.now();
      planBalance({ site });
      balances.push(performance.now() - between);
    }
    const resident = Math.round(process.memoryUsage.rss() / 2 ** 20);
    process.stdout.write(
      `${hosts} hosts, ${hosts * vmsPerHost} VMs: drain ${median(drains).toFixed(0)} ms (worst ${Math.max(...drains).toFixed(0)}; ${moved} moved, ${left} left), balance ${median(balances).toFixed(0)} ms, ${resident} MiB\n`,
    );
  }
  process.stdout.write("bars: 64 hosts and 8000 VMs under 1000 ms and 500 MiB\n");
}
