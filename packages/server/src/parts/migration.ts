import {
  type Inventory,
  type JobKind,
  type JobRunner,
  libvirtMigration,
  migrationJob,
  Migrations,
  type MigrationsOptions,
  type Networks,
  type PastMove,
  pastMoveOf,
  resolveStorageMove,
  storageMoveJob,
} from "@godwit/engine";
import type { MigrationsService } from "../services.ts";

export interface MigrationPart {
  readonly kinds: readonly JobKind[];
  readonly service: MigrationsService;
  readonly migrations: Migrations;
}

export type MigrationRules = NonNullable<MigrationsOptions["rules"]>;
export type MigrationGenerationId = NonNullable<MigrationsOptions["lacksGenerationId"]>;

interface MigrationNeeds {
  /** There once the first job runs. */
  readonly jobs: () => Pick<JobRunner, "list">;
  readonly rules: MigrationRules;
  readonly lacksGenerationId: MigrationGenerationId;
}

/** So many last moves tell how fast a path is. */
const pastMovesCount = 40;

/** Everything that moves a VM or its disks. The job runner is there once the first job runs. */
export function migrationPart(inventory: Inventory, networks: Networks, { jobs, rules, lacksGenerationId }: MigrationNeeds): MigrationPart {
  const history = async (): Promise<PastMove[]> => {
    const done = await jobs().list({ kind: "vm.migrate", states: ["done"] }, { limit: pastMovesCount });
    return done.flatMap(({ input, result }) => pastMoveOf(input, result) ?? []);
  };
  const migrations = new Migrations({ hosts: inventory, networks, open: libvirtMigration, history, rules, lacksGenerationId });
  return {
    migrations,
    kinds: [migrationJob(migrations), storageMoveJob(migrations)],
    service: {
      plan: (vm, wanted, { signal }) => migrations.plan({ ...wanted, vm }, { signal }),
      jobInput: (vm, wanted) => migrations.resolve({ ...wanted, vm }),
      ensureGenerationId: (vm, { signal }) => migrations.ensureGenerationId(vm, { signal }),
      storageJobInput: (vm, { to: pool, ...wanted }) => resolveStorageMove(migrations, { ...wanted, vm, pool }),
    },
  };
}
