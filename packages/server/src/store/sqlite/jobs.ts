import { isFinal, isRepeated, type JobFilter, type JobLease, type JobRecord, type JobStore, StoreError } from "@godwit/engine";
import type { Kysely } from "kysely";
import type { Guard } from "./collection.ts";
import type { JobTable, Schema } from "./schema.ts";

type Row = Pick<JobTable, "record" | "lease_owner" | "lease_until"> & { readonly log?: string };
const rowColumns = ["record", "lease_owner", "lease_until"] as const;
const finalStates = ["done", "failed", "cancelled"];

/** Jobs in SQLite. One server per database, which the database's lock sees to. */
export class SqliteJobs implements JobStore {
  readonly exclusive = true;
  readonly #db: Kysely<Schema>;
  readonly #guard: Guard;

  constructor(db: Kysely<Schema>, guard: Guard) {
    this.#db = db;
    this.#guard = guard;
  }

  create(job: JobRecord, idempotencyKey?: string): Promise<JobRecord> {
    return this.#guard(() =>
      this.#db.transaction().execute(async (tx) => {
        if (idempotencyKey !== undefined) {
          const before = await findByKey(tx, idempotencyKey);
          if (before) return sameRequest(before, job);
        }
        await tx
          .insertInto("job")
          .values({
            ...columnsOf(job),
            lease_owner: job.lease?.owner ?? null,
            lease_until: job.lease?.until ?? null,
            idempotency_key: idempotencyKey ?? null,
          })
          .execute();
        return job;
      }),
    );
  }

  find(idempotencyKey: string): Promise<JobRecord | undefined> {
    return this.#guard(() => findByKey(this.#db, idempotencyKey));
  }

  get(id: string): Promise<JobRecord | undefined> {
    return this.#guard(async () => {
      const row = await this.#db
        .selectFrom("job")
        .select([...rowColumns, "log"])
        .where("id", "=", id)
        .executeTakeFirst();
      return row && fromRow(row);
    });
  }

  list(filter: JobFilter, page: { readonly limit: number; readonly cursor?: string | undefined }): Promise<JobRecord[]> {
    return this.#guard(async () => {
      let query = this.#db.selectFrom("job").select(rowColumns).orderBy("seq", "desc").limit(page.limit);
      if (filter.states) query = query.where("state", "in", filter.states);
      if (filter.kind !== undefined) query = query.where("kind", "=", filter.kind);
      if (filter.subjectId !== undefined) query = query.where("subject_id", "=", filter.subjectId);
      const { cursor } = page;
      if (cursor !== undefined) {
        query = query.where("seq", "<", (eb) => eb.selectFrom("job as last").select("last.seq").where("last.id", "=", cursor));
      }
      return (await query.execute()).map(fromRow);
    });
  }

  save(job: JobRecord): Promise<void> {
    return this.#guard(async () => {
      const { id, state, record, log } = columnsOf(job);
      const freed = isFinal(job.state) ? { lease_owner: null, lease_until: null } : {};
      const { numUpdatedRows } = await this.#db
        .updateTable("job")
        .set({ state, record, log, ...freed })
        .where("id", "=", id)
        .where("lease_owner", "=", job.lease?.owner ?? "")
        .executeTakeFirst();
      if (numUpdatedRows === 0n) throw new StoreError("lease-lost", `job ${id} is not held by this server any more`, { job: id });
    });
  }

  claim(owner: string, until: number, isOver: (jobId: string, lease: JobLease) => boolean): Promise<JobRecord[]> {
    return this.#guard(() =>
      this.#db.transaction().execute(async (tx) => {
        const rows = await tx
          .selectFrom("job")
          .select([...rowColumns, "log"])
          .where("state", "not in", finalStates)
          .where((eb) => eb.or([eb("lease_owner", "is", null), eb("lease_owner", "!=", owner)]))
          .orderBy("seq")
          .execute();
        const free = rows.map(fromRow).filter((job) => !job.lease || isOver(job.id, job.lease));
        for (const { id } of free) {
          await tx.updateTable("job").set({ lease_owner: owner, lease_until: until }).where("id", "=", id).execute();
        }
        return free.map((job) => ({ ...job, lease: { owner, until } }));
      }),
    );
  }

  renew(owner: string, until: number): Promise<string[]> {
    return this.#guard(async () => {
      const rows = await this.#db.updateTable("job").set({ lease_until: until }).where("lease_owner", "=", owner).returning("id").execute();
      return rows.map(({ id }) => id);
    });
  }

  prune(keep: number): Promise<number> {
    return this.#guard(async () => {
      const ended = this.#db.selectFrom("job").select("seq").where("state", "in", finalStates);
      const { numDeletedRows } = await this.#db
        .deleteFrom("job")
        .where("seq", "in", ended.orderBy("seq", "desc").limit(-1).offset(keep))
        .executeTakeFirst();
      return Number(numDeletedRows);
    });
  }
}

async function findByKey(db: Kysely<Schema>, key: string): Promise<JobRecord | undefined> {
  const row = await db
    .selectFrom("job")
    .select([...rowColumns, "log"])
    .where("idempotency_key", "=", key)
    .executeTakeFirst();
  return row && fromRow(row);
}

function sameRequest(before: JobRecord, now: JobRecord): JobRecord {
  if (isRepeated(before, now)) return before;
  throw new StoreError("conflict", `the idempotency key was used for job ${before.id} (${before.title}), which asked for something else`, {
    job: before.id,
  });
}

function columnsOf(job: JobRecord): Pick<JobTable, "id" | "kind" | "state" | "subject_id" | "record" | "log"> {
  const { log, lease: _, ...record } = job;
  return {
    id: job.id,
    kind: job.kind,
    state: job.state,
    subject_id: job.subject.id,
    record: JSON.stringify(record),
    log: JSON.stringify(log),
  };
}

function fromRow(row: Row): JobRecord {
  const lease = row.lease_owner === null ? {} : { lease: { owner: row.lease_owner, until: Number(row.lease_until) } };
  return {
    ...(JSON.parse(row.record) as JobRecord),
    log: row.log === undefined ? [] : (JSON.parse(row.log) as JobRecord["log"]),
    ...lease,
  };
}
