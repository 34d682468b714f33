import type { Generated } from "kysely";

export interface RecordTable {
  readonly collection: string;
  readonly id: string;
  /** JSON. */
  readonly value: string;
}

export interface JobTable {
  /** Order of creation. */
  readonly seq: Generated<number>;
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly subject_id: string;
  readonly lease_owner: string | null;
  readonly lease_until: number | null;
  readonly idempotency_key: string | null;
  /** JSON of the record without its lease and log. */
  readonly record: string;
  /** JSON; apart, so that listings need not read it. */
  readonly log: string;
}

export interface Schema {
  readonly record: RecordTable;
  readonly job: JobTable;
}

/** `GODW`: says in the file's header whose database it is. */
export const applicationId = 0x47_4f_44_57;

/**
 * What brings the database from version n to n + 1, at index n. Released ones never change; each runs in one
 * transaction with the new version number.
 */
export const migrations: readonly string[] = [
  `
  create table record (
    collection text not null,
    id text not null,
    value text not null,
    primary key (collection, id)
  ) strict, without rowid;

  create table job (
    seq integer primary key autoincrement,
    id text not null unique,
    kind text not null,
    state text not null,
    subject_id text not null,
    lease_owner text,
    lease_until integer,
    idempotency_key text unique,
    record text not null,
    log text not null
  ) strict;
  create index job_by_state on job (state, seq);
  create index job_by_subject on job (subject_id, seq);
  `,
];
