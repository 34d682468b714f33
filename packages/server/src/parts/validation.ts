import { systemClock } from "@godwit/core";
import { Cpus, type Inventory, type JobRunner, libvirtCpu, type Migrations, type Networks, validateCluster } from "@godwit/engine";
import type { ValidationService } from "../services.ts";

export interface ValidationNeeds {
  readonly inventory: Inventory;
  readonly networks: Networks;
  readonly migrations: Migrations;
  readonly jobs: () => Pick<JobRunner, "unfinished">;
}

/** Comparing CPUs, and testing the cluster as a whole. */
export function validationPart({ inventory, networks, migrations, jobs }: ValidationNeeds): ValidationService {
  const cpus = new Cpus({
    hosts: inventory,
    migrations,
    open: ({ id, facts }) => libvirtCpu(inventory.hypervisor(id), facts?.acceleration.kind === "kvm" ? "kvm" : "qemu"),
  });
  return {
    baseline: (options) => cpus.baseline(options),
    compare: (vm, options) => cpus.compare(vm, options),
    validate: ({ signal }) =>
      validateCluster({
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
}
