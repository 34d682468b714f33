import type { HostRecord } from "../model/host.ts";
import type { MaintenanceRecord } from "../model/maintenance.ts";
import type { PlacementSettings } from "../placement/rules.ts";
import type { BackupTrafficSettings, HostMigrationSettings, LiveMigrationSettings, NetworkRecord } from "../model/network.ts";
import type { AlertRecord } from "../protection/groups/alerts.ts";
import type { MemberRecord, ProtectionGroup } from "../protection/groups/model.ts";
import type { JobLease, JobRecord } from "../jobs/job.ts";
import type { KeptImages } from "../recovery/kept.ts";
import type { TrackingRecord, VaultRecord } from "../protection/model.ts";

/** A set of small records by id. Every write is durable when its promise resolves. */
export interface Collection<T> {
  get(id: string): Promise<T | undefined>;
  /** Ordered by id. */
  list(): Promise<T[]>;
  put(id: string, value: T): Promise<void>;
  /** No error when there is none. */
  delete(id: string): Promise<void>;
}

export interface JobFilter {
  readonly states?: readonly JobRecord["state"][] | undefined;
  readonly kind?: string | undefined;
  readonly subjectId?: string | undefined;
}

/**
 * Jobs, persisted step by step. A job belongs to the server that holds its lease: `save` is refused
 * (`StoreError` of kind `lease-lost`) once another owner took it, so that an old server can no longer act.
 * Times are the caller's; the store compares none of them, so no clock that jumps can end a lease.
 */
export interface JobStore {
  /** True where the store itself admits only one server: what a new one finds unfinished, nobody runs any more. */
  readonly exclusive: boolean;
  /**
   * Adds a job, held by `job.lease`. With an idempotency key that was used before, adds nothing and gives the
   * job of then; the same key for something else (`isRepeated`) is a `StoreError` of kind `conflict`.
   */
  create(job: JobRecord, idempotencyKey?: string): Promise<JobRecord>;
  /** The job that was created with this key. */
  find(idempotencyKey: string): Promise<JobRecord | undefined>;
  get(id: string): Promise<JobRecord | undefined>;
  /** Newest first, without log lines; `cursor` is the id of the last one of the page before. */
  list(filter: JobFilter, page: { readonly limit: number; readonly cursor?: string | undefined }): Promise<JobRecord[]>;
  /** Replaces the record; refused unless `job.lease.owner` holds it. A final state gives the lease up for good. */
  save(job: JobRecord): Promise<void>;
  /**
   * Takes over, atomically, every unfinished job that nobody holds or whose lease `isOver`; gives them back with
   * the new lease, oldest first. Jobs that `owner` holds already are left alone.
   */
  claim(owner: string, until: number, isOver: (jobId: string, lease: JobLease) => boolean): Promise<JobRecord[]>;
  /** Extends the leases of `owner`; gives the ids it still holds. */
  renew(owner: string, until: number): Promise<string[]>;
  /** Forgets the oldest ended jobs beyond `keep`, and their idempotency keys; gives their number. */
  prune(keep: number): Promise<number>;
}

/** The server's small relational memory. One contract suite runs on every implementation. */
export interface Store extends AsyncDisposable {
  readonly hosts: Collection<HostRecord>;
  readonly networks: Collection<NetworkRecord>;
  /** By host id. */
  readonly hostMigration: Collection<HostMigrationSettings>;
  /** One record, id `cluster`. */
  readonly liveMigration: Collection<LiveMigrationSettings>;
  /** One record, id `cluster`. */
  readonly backupTraffic: Collection<BackupTrafficSettings>;
  /** By host id: subnets for backup traffic, kept as those for migrations are. */
  readonly hostBackup: Collection<HostMigrationSettings>;
  /** By host id. */
  readonly maintenance: Collection<MaintenanceRecord>;
  /** One record, id `cluster`. */
  readonly placement: Collection<PlacementSettings>;
  readonly jobs: JobStore;
  readonly vaults: Collection<VaultRecord>;
  readonly groups: Collection<ProtectionGroup>;
  /** By group and VM. */
  readonly groupMembers: Collection<MemberRecord>;
  readonly alerts: Collection<AlertRecord>;
  /** By VM and vault; see `trackingId`. */
  readonly tracking: Collection<TrackingRecord>;
  /** By the recovery's job. */
  readonly keptImages: Collection<KeptImages>;
}
