import type { Clock } from "@godwit/core";
import { gatherHosts } from "../doctor/gather.ts";
import type { NetworkInterface, NetworkVerdict } from "../model/network.ts";
import type { PlacementHosts } from "../placement/gather.ts";
import type { MigrationNetworks } from "../migration/index.ts";
import type { Check } from "../model/reason.ts";
import type { HostShell } from "../ports/shell.ts";
import { cpuTests, migrationTests, storageTests } from "./cluster-tests.ts";
import type { Cpus } from "./cpus.ts";
import { type ValidationFacts, type ValidationReport, type ValidationTest, worst } from "./model.ts";
import { networkTests } from "./network-tests.ts";
import { inventoryTests, systemTests } from "./system-tests.ts";

export interface ValidateOptions {
  readonly hosts: PlacementHosts;
  readonly networks: MigrationNetworks & { interfaces(): NetworkInterface[] };
  /** Throws for a host without a way to a shell. */
  readonly shell: (hostId: string) => HostShell;
  readonly cpus: Cpus;
  /** A migration runs: its port is not tried then, because the try could be taken for its stream. */
  readonly migrating: boolean;
  /** What came of moving a tiny guest between the hosts; absent when that was not asked for. */
  readonly trials?: readonly Check[] | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Every test on facts that are there. Pure. */
export function judgeCluster(facts: ValidationFacts): ValidationTest[] {
  return [
    ...inventoryTests(facts),
    ...systemTests(facts),
    ...networkTests(facts),
    ...storageTests(facts),
    ...migrationTests(facts),
    ...cpuTests(facts),
  ];
}

/** Tests the cluster as `Test-Cluster` does, as far as that makes sense here. What is wrong is in the report; it rejects only on abort. */
export async function validateCluster(options: ValidateOptions): Promise<ValidationReport> {
  const { clock, hosts, networks, shell, cpus, signal } = options;
  const startedAt = new Date(clock.now()).toISOString();
  const views = hosts.hosts();
  const [findings, cpu, paths, live, settings] = await Promise.all([
    gatherHosts({ hosts: views, shell, interfaces: options.migrating ? [] : networks.interfaces(), clock, signal }),
    cpus.baseline({ signal }),
    pathsBetween(options),
    networks.liveMigration(),
    Promise.all(views.map(async ({ id, name }) => ({ host: name, settings: await networks.hostMigration(id) }))),
  ]);
  const tests = judgeCluster({
    hosts: views,
    findings,
    vms: hosts.vms(),
    pools: hosts.pools(),
    networks: networks.list(),
    paths,
    live,
    settings,
    cpu,
    trials: options.trials,
  });
  const verdict = worst(tests.map((one) => one.verdict));
  return { startedAt, endedAt: new Date(clock.now()).toISOString(), hosts: views.map(({ name }) => name), verdict, tests };
}

async function pathsBetween({
  hosts,
  networks,
}: ValidateOptions): Promise<{ source: string; destination: string; verdicts: NetworkVerdict[] }[]> {
  const up = hosts.hosts().filter(({ state }) => state === "up");
  const pairs = up.flatMap((source) => up.filter((one) => one !== source).map((destination) => ({ source, destination })));
  return await Promise.all(
    pairs.map(async ({ source, destination }) => ({
      source: source.name,
      destination: destination.name,
      verdicts: await networks.verdicts(source.id, destination.id),
    })),
  );
}
