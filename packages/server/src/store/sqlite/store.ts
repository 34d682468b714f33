import type {
  AlertRecord,
  BackupTrafficSettings,
  Collection,
  HostMigrationSettings,
  HostRecord,
  KeptImages,
  LiveMigrationSettings,
  MaintenanceRecord,
  MemberRecord,
  NetworkRecord,
  PlacementSettings,
  ProtectionGroup,
  Store,
  TrackingRecord,
  VaultRecord,
} from "@godwit/engine";
import { Kysely, SqliteDialect } from "kysely";
import { type Guard, sqliteCollection } from "./collection.ts";
import { forKysely, openDatabase } from "./database.ts";
import { storeError } from "./errors.ts";
import { SqliteJobs } from "./jobs.ts";
import { lockDatabase } from "./lock.ts";
import type { Schema } from "./schema.ts";

/** The store in one SQLite file, for one server. */
export class SqliteStore implements Store {
  readonly hosts: Collection<HostRecord>;
  readonly networks: Collection<NetworkRecord>;
  readonly hostMigration: Collection<HostMigrationSettings>;
  readonly liveMigration: Collection<LiveMigrationSettings>;
  readonly backupTraffic: Collection<BackupTrafficSettings>;
  readonly hostBackup: Collection<HostMigrationSettings>;
  readonly maintenance: Collection<MaintenanceRecord>;
  readonly placement: Collection<PlacementSettings>;
  readonly jobs: SqliteJobs;
  readonly vaults: Collection<VaultRecord>;
  readonly groups: Collection<ProtectionGroup>;
  readonly groupMembers: Collection<MemberRecord>;
  readonly alerts: Collection<AlertRecord>;
  readonly tracking: Collection<TrackingRecord>;
  readonly keptImages: Collection<KeptImages>;
  readonly #db: Kysely<Schema>;
  readonly #lock: Disposable;

  private constructor(db: Kysely<Schema>, lock: Disposable, guard: Guard) {
    this.#db = db;
    this.#lock = lock;
    this.hosts = sqliteCollection(db, guard, "host");
    this.networks = sqliteCollection(db, guard, "network");
    this.hostMigration = sqliteCollection(db, guard, "host-migration");
    this.liveMigration = sqliteCollection(db, guard, "live-migration");
    this.backupTraffic = sqliteCollection(db, guard, "backup-traffic");
    this.hostBackup = sqliteCollection(db, guard, "host-backup");
    this.maintenance = sqliteCollection(db, guard, "maintenance");
    this.placement = sqliteCollection(db, guard, "placement");
    this.jobs = new SqliteJobs(db, guard);
    this.vaults = sqliteCollection(db, guard, "vault");
    this.groups = sqliteCollection(db, guard, "protection-group");
    this.groupMembers = sqliteCollection(db, guard, "protection-member");
    this.alerts = sqliteCollection(db, guard, "alert");
    this.tracking = sqliteCollection(db, guard, "tracking");
    this.keptImages = sqliteCollection(db, guard, "kept-images");
  }

  /**
   * Opens `path`, and creates it where there is none. Rejects with a `StoreError`: `locked` while another
   * server uses it, `newer-schema`, `not-ours`, `corrupt`, `full` or `io`.
   */
  static async open(path: string): Promise<SqliteStore> {
    using undo = new DisposableStack();
    const lock = undo.use(lockDatabase(path));
    const database = undo.adopt(openDatabase(path), (opened) => opened.close());
    const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: forKysely(database) }) });
    // Runs the dialect's own first statement now, so that its errors show here.
    await guardOf(path)(() => db.selectFrom("record").select("id").limit(1).execute());
    undo.move();
    return new SqliteStore(db, lock, guardOf(path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#db.destroy();
    this.#lock[Symbol.dispose]();
  }
}

function guardOf(path: string): Guard {
  return async (query) => {
    try {
      return await query();
    } catch (error) {
      throw storeError(path, error);
    }
  };
}
