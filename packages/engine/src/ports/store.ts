import type { HostRecord } from "../model/host.ts";
import type { HostMigrationSettings, LiveMigrationSettings, NetworkRecord } from "../model/network.ts";
import type { JobRecord } from "../jobs/job.ts";

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
  readonly states?: readonly JobRecord["state"][];
  readonly kind?: string;
  readonly subjectId?: string;
}

/**
 * Jobs, persisted step by step. A job belongs to the server that holds its lease: `save` is refused
 * (`StoreError` of kind `lease-lost`) once another owner took it, so that an old server can no longer act.
 */
export interface JobStore {
  /**
   * Adds a job. With an idempotency key that was used before, adds nothing and gives the job of then;
   * the same key with another input is a `StoreError` of kind `conflict`.
   */
  create(job: JobRecord, idempotencyKey?: string): Promise<JobRecord>;
  get(id: string): Promise<JobRecord | undefined>;
  /** Newest first; `cursor` is the id of the last one of the page before. */
  list(filter: JobFilter, page: { readonly limit: number; readonly cursor?: string }): Promise<JobRecord[]>;
  save(job: JobRecord): Promise<void>;
  /** Takes over every unfinished job whose lease ended before `now` or that nobody holds; gives them back with the new lease. */
  claim(owner: string, now: number, leaseMs: number): Promise<JobRecord[]>;
  /** Extends the leases of `owner`; gives the ids it still holds. */
  renew(owner: string, now: number, leaseMs: number): Promise<string[]>;
}

/** The server's small relational memory. One contract suite runs on every implementation. */
export interface Store extends AsyncDisposable {
  readonly hosts: Collection<HostRecord>;
  readonly networks: Collection<NetworkRecord>;
  /** By host id. */
  readonly hostMigration: Collection<HostMigrationSettings>;
  /** One record, id `cluster`. */
  readonly liveMigration: Collection<LiveMigrationSettings>;
  readonly jobs: JobStore;
}
