import { isFinal, isRepeated, type JobFilter, type JobLease, type JobRecord, type JobStore, StoreError } from "../../src/index.ts";

/** What survives a server: the database's content. */
export class JobMemory {
  readonly rows = new Map<string, { json: string; lease: JobLease | undefined }>();
  readonly keys = new Map<string, string>();
}

export interface Faults {
  /** Called before each write, with its number from 1; a rejection is the write's failure. */
  beforeWrite?(n: number): Promise<void>;
  afterWrite?(n: number): Promise<void>;
}

/** A `JobStore` in memory with faults to inject. Several on one `JobMemory` are several servers. */
export class MemoryJobStore implements JobStore {
  readonly exclusive: boolean;
  readonly #memory: JobMemory;
  readonly #faults: Faults;
  writes = 0;

  constructor(memory: JobMemory, { exclusive = true, faults = {} }: { exclusive?: boolean; faults?: Faults } = {}) {
    this.#memory = memory;
    this.exclusive = exclusive;
    this.#faults = faults;
  }

  create(job: JobRecord, idempotencyKey?: string): Promise<JobRecord> {
    return this.#write(() => {
      const known = idempotencyKey === undefined ? undefined : this.#memory.keys.get(idempotencyKey);
      const before = known === undefined ? undefined : this.#read(known);
      if (before) {
        if (!isRepeated(before, job)) throw new StoreError("conflict", "the key was used for something else");
        return before;
      }
      if (idempotencyKey !== undefined) this.#memory.keys.set(idempotencyKey, job.id);
      this.#put(job, job.lease);
      return job;
    });
  }

  async find(idempotencyKey: string): Promise<JobRecord | undefined> {
    const id = this.#memory.keys.get(idempotencyKey);
    return id === undefined ? undefined : this.#read(id);
  }

  async get(id: string): Promise<JobRecord | undefined> {
    return this.#read(id);
  }

  async list(filter: JobFilter, page: { limit: number; cursor?: string | undefined }): Promise<JobRecord[]> {
    const all = Array.from(this.#memory.rows.keys(), (id) => this.#read(id)!).reverse();
    const from = page.cursor === undefined ? 0 : all.findIndex(({ id }) => id === page.cursor) + 1;
    return all
      .slice(from)
      .filter((job) => filter.states?.includes(job.state) ?? true)
      .slice(0, page.limit);
  }

  save(job: JobRecord): Promise<void> {
    return this.#write(() => {
      const row = this.#memory.rows.get(job.id);
      if (!row?.lease || row.lease.owner !== job.lease?.owner) throw new StoreError("lease-lost", `job ${job.id} is held by another`);
      this.#put(job, isFinal(job.state) ? undefined : row.lease);
    });
  }

  claim(owner: string, until: number, isOver: (jobId: string, lease: JobLease) => boolean): Promise<JobRecord[]> {
    return this.#write(() =>
      [...this.#memory.rows.keys()].flatMap((id) => {
        const job = this.#read(id)!;
        if (isFinal(job.state) || job.lease?.owner === owner || (job.lease && !isOver(id, job.lease))) return [];
        this.#put(job, { owner, until });
        return [this.#read(id)!];
      }),
    );
  }

  renew(owner: string, until: number): Promise<string[]> {
    return this.#write(() =>
      [...this.#memory.rows].flatMap(([id, row]) => {
        if (row.lease?.owner !== owner) return [];
        row.lease = { owner, until };
        return [id];
      }),
    );
  }

  async prune(): Promise<number> {
    return 0;
  }

  #read(id: string): JobRecord | undefined {
    const row = this.#memory.rows.get(id);
    return row && { ...(JSON.parse(row.json) as JobRecord), ...(row.lease ? { lease: row.lease } : {}) };
  }

  #put(job: JobRecord, lease: JobLease | undefined): void {
    this.#memory.rows.set(job.id, { json: JSON.stringify({ ...job, lease: undefined }), lease });
  }

  async #write<T>(body: () => T): Promise<T> {
    this.writes += 1;
    const n = this.writes;
    await this.#faults.beforeWrite?.(n);
    const result = body();
    await this.#faults.afterWrite?.(n);
    return result;
  }
}
