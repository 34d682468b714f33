import { systemClock } from "@godwit/core";
import {
  type Check,
  Cpus,
  type Inventory,
  isFinal,
  type JobKind,
  type JobRecord,
  type JobRunner,
  libvirtCpu,
  type Migrations,
  type Networks,
  EngineError,
  trialsKind,
  type TrialsResult,
  validateCluster,
} from "@godwit/engine";
import type { ValidationService } from "../services.ts";

export interface ValidationNeeds {
  readonly inventory: Inventory;
  readonly networks: Networks;
  readonly migrations: Migrations;
  readonly jobs: () => Pick<JobRunner, "unfinished" | "get">;
}

export interface ValidationPart {
  readonly kinds: readonly JobKind[];
  readonly service: ValidationService;
}

/** What a job that tried migration came to, as checks: also when it failed. */
function trialsOf({ kind, state, result, error, title }: JobRecord): readonly Check[] {
  if (kind !== "cluster.try-migrations") throw new EngineError("invalid", `the job '${title}' tried no migration`);
  if (!isFinal(state)) throw new EngineError("conflict", `the job '${title}' has not ended yet`);
  if (state === "done") return (result as TrialsResult).checks;
  return [
    { id: "tried", verdict: "fail", text: error?.message ?? `it was ${state}`, remedy: "try it again: godwit cluster validate --migrate" },
  ];
}

/** Comparing CPUs, and testing the cluster as a whole. */
export function validationPart({ inventory, networks, migrations, jobs }: ValidationNeeds): ValidationPart {
  const cpus = new Cpus({
    hosts: inventory,
    migrations,
    open: ({ id, facts }) => libvirtCpu(inventory.hypervisor(id), facts?.acceleration.kind === "kvm" ? "kvm" : "qemu"),
  });
  const service: ValidationService = {
    baseline: (options) => cpus.baseline(options),
    compare: (vm, options) => cpus.compare(vm, options),
    trialsInput: () => ({ hosts: inventory.hosts().map(({ id, name }) => ({ id, name })) }),
    validate: async ({ signal, trials }) =>
      await validateCluster({
        trials: trials === undefined ? undefined : trialsOf(await jobs().get(trials)),
        hosts: inventory,
        networks,
        shell: (id) => inventory.shell(id),
        cpus,
        migrating: jobs()
          .unfinished()
          .some(({ kind, state }) => kind === "vm.migrate" && state !== "queued"),
        clock: systemClock,
        signal,
      }),
  };
  return { kinds: [trialsKind(migrations, () => inventory.hosts())], service };
}
