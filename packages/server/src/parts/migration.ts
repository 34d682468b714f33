import {
  type Inventory,
  type JobKind,
  libvirtMigration,
  migrationJob,
  Migrations,
  type Networks,
  resolveStorageMove,
  storageMoveJob,
} from "@godwit/engine";
import type { MigrationsService } from "../services.ts";

export interface MigrationPart {
  readonly kinds: readonly JobKind[];
  readonly service: MigrationsService;
  readonly migrations: Migrations;
}

/** Everything that moves a VM or its disks. */
export function migrationPart(inventory: Inventory, networks: Networks): MigrationPart {
  const migrations = new Migrations({ hosts: inventory, networks, open: libvirtMigration });
  return {
    migrations,
    kinds: [migrationJob(migrations), storageMoveJob(migrations)],
    service: {
      plan: (vm, wanted, { signal }) => migrations.plan({ ...wanted, vm }, { signal }),
      jobInput: (vm, wanted) => migrations.resolve({ ...wanted, vm }),
      storageJobInput: (vm, { to: pool, ...wanted }) => resolveStorageMove(migrations, { ...wanted, vm, pool }),
    },
  };
}
