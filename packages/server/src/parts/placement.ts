import { systemClock } from "@godwit/core";
import {
  clusterBalanceKind,
  Drains,
  hostDrainKind,
  hostResumeKind,
  type Inventory,
  type JobKind,
  type JobRunner,
  type Maintenance,
  type Migrations,
  type Networks,
  Placements,
  runBalanceSchedule,
  type Store,
} from "@godwit/engine";
import type { Logger } from "pino";
import type { PlacementService } from "../services.ts";

export interface PlacementPart {
  readonly placements: Placements;
  /** To be loaded before jobs run. */
  readonly maintenance: Maintenance;
  readonly kinds: readonly JobKind[];
  readonly service: PlacementService;
  /** Balances by schedule until `signal` fires. */
  run(signal: AbortSignal): Promise<void>;
}

export interface PlacementNeeds {
  readonly store: Store;
  readonly log: Logger;
  readonly inventory: Inventory;
  readonly networks: Networks;
  readonly maintenance: Maintenance;
  readonly migrations: Migrations;
  /** There once the first job runs. */
  readonly jobs: () => JobRunner;
}

/** Everything that decides where VMs run, and moves them for that. */
export function placementPart({ store, log, inventory, networks, maintenance, migrations, jobs }: PlacementNeeds): PlacementPart {
  const placements = new Placements({ store, hosts: inventory, networks, migrations, maintenance });
  const hypervisor = (hostId: string): ReturnType<Inventory["hypervisor"]> => inventory.hypervisor(hostId);
  const drains = new Drains({ placements, networks, hypervisor, jobs, clock: systemClock });
  return {
    placements,
    maintenance,
    run: (signal) => runBalanceSchedule({ settings: () => placements.settings(), jobs, clock: systemClock, log }, signal),
    kinds: [hostDrainKind(drains), hostResumeKind(drains), clusterBalanceKind(drains)],
    service: {
      settings: () => placements.settings(),
      replaceSettings: (settings) => placements.replaceSettings(settings),
      choose: (vm, options) => placements.choose(vm, options),
      contract: (vm) => placements.contract(vm),
      drainPlan: (host, { to, signal }) => drains.plan(inventory.host(host).id, { signal, to: to?.map((ref) => inventory.host(ref).id) }),
      balancePlan: (options) => drains.planBalance(options),
      maintenance: (hostId) => maintenance.get(hostId),
    },
  };
}
