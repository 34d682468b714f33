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
  type YieldingJob,
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
  readonly jobs: () => Pick<JobRunner, "list" | "unfinished">;
  readonly rules: MigrationRules;
  readonly lacksGenerationId: MigrationGenerationId;
}

/** So many last moves tell how fast a path is. */
const pastMovesCount = 40;
/** The moves of one plan ask for them all at once. */
const historyMs = 1000;

/** Asks once for all who want to know within so many milliseconds. */
function keptFor<T>(ms: number, ask: () => Promise<T>): () => Promise<T> {
  let last: { readonly at: number; readonly answer: Promise<T> } | undefined;
  return () => {
    const now = performance.now();
    if (last && now - last.at < ms) return last.answer;
    const answer = ask();
    last = { at: now, answer };
    answer.catch(() => (last = undefined));
    return answer;
  };
}

/** Everything that moves a VM or its disks. The job runner is there once the first job runs. */
export function migrationPart(inventory: Inventory, networks: Networks, { jobs, rules, lacksGenerationId }: MigrationNeeds): MigrationPart {
  const history = keptFor(historyMs, async (): Promise<PastMove[]> => {
    const done = await jobs().list({ kind: "vm.migrate", states: ["done"] }, { limit: pastMovesCount });
    return done.flatMap(({ input, result, attempt }) => pastMoveOf(input, result, attempt) ?? []);
  });
  const yields = (vmId: string): YieldingJob | undefined => {
    const capture = jobs()
      .unfinished()
      .find(({ kind, state, subject }) => kind === "vm.capture" && state !== "queued" && subject.id === vmId);
    if (!capture) return undefined;
    return { id: capture.id, title: capture.title, when: capture.input["onMigration"] === "finish" ? "at-its-end" : "at-once" };
  };
  const migrations = new Migrations({ hosts: inventory, networks, open: libvirtMigration, history, rules, lacksGenerationId, yields });
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
