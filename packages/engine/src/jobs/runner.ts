import { randomBytes } from "node:crypto";
import { type Clock, describeError, type JsonObject, raceAbort } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { JobFilter, JobStore } from "../ports/store.ts";
import { type Admission, type Applicant, decideAdmission } from "./admission.ts";
import { type IdempotencyKey, isFinal, type JobKind, type JobRecord, LeaseLost, ServerStopping } from "./job.ts";
import { Leases } from "./leases.ts";
import { type JobLog, LiveJob } from "./live-job.ts";
import { failure, type Outcome, throughJson } from "./outcome.ts";
import { type WatchOptions, Watchers } from "./watchers.ts";

export interface JobRunnerOptions {
  readonly store: JobStore;
  readonly clock: Clock;
  /** Names this run of this server; never used by another. */
  readonly owner: string;
  readonly kinds: readonly JobKind[];
  readonly log: JobLog;
  /** How long after a server's death another one takes its jobs over, where several share a store. */
  readonly leaseMs?: number;
  /** How many ended jobs are remembered. */
  readonly keepEnded?: number;
  /** More unfinished jobs than this are refused. */
  readonly maxUnfinished?: number;
  readonly newId?: () => string;
  /** What a dead server left is claimed at once, with its locks, but runs only after this: when hosts are connected. */
  readonly resumeAfter?: Promise<unknown>;
}

/** How long `stop` waits for jobs to let go. They are persisted as running either way. */
const stopGraceMs = 3000;
const beginRetryMs = 5000;

/**
 * Runs jobs: admits them by locks and slots, persists what they do, resumes what a dead server left, and
 * tells watchers. One per server; `start` once before anything else. Killing the process at any moment loses
 * nothing that a resolved promise said.
 */
export class JobRunner implements AsyncDisposable {
  readonly #options: JobRunnerOptions;
  readonly #kinds: ReadonlyMap<string, JobKind>;
  readonly #watchers = new Watchers();
  /** Unfinished jobs of this server, in the order of their creation. */
  readonly #live = new Map<string, LiveJob>();
  readonly #runs = new Map<string, Promise<void>>();
  readonly #leases: Leases;
  readonly #stop = new AbortController();
  #admitting: Promise<void> | undefined;
  #admitAgain = false;
  #endedSincePrune = 0;

  constructor(options: JobRunnerOptions) {
    this.#options = options;
    this.#kinds = new Map(options.kinds.map((kind) => [kind.kind, kind]));
    this.#leases = new Leases({
      store: options.store,
      clock: options.clock,
      owner: options.owner,
      leaseMs: options.leaseMs ?? 30_000,
      log: options.log,
      holds: () => this.#live.keys(),
      lost: (id) => this.#live.get(id)?.fence(new LeaseLost()),
      taken: (records) => this.#adoptAll(records),
    });
  }

  /** Takes over what another server left unfinished, and begins to run jobs. */
  async start(): Promise<void> {
    await this.#options.store.prune(this.#options.keepEnded ?? 5000);
    await this.#leases.start(this.#stop.signal);
  }

  /**
   * Queues a job; resolves once it is durable. The same idempotency key gives the job of the first time.
   * Rejects with `invalid` for an unknown kind and `conflict` when the key was used for something else.
   */
  async submit(
    kind: string,
    input: JsonObject,
    options: { readonly idempotencyKey?: IdempotencyKey | undefined } = {},
  ): Promise<JobRecord> {
    this.#stop.signal.throwIfAborted();
    const { clock, store, owner } = this.#options;
    const found = this.#kinds.get(kind);
    if (!found) throw new EngineError("invalid", `there are no jobs of kind '${kind}'`);
    const limit = this.#options.maxUnfinished ?? 10_000;
    if (this.#live.size >= limit) {
      throw new EngineError("conflict", `${limit} jobs are unfinished already: wait until some ended, or cancel some`);
    }
    const { idempotencyKey: given } = options;
    const { key, asked } = typeof given === "string" ? { key: given } : { ...given };
    const record: JobRecord = {
      id: (this.#options.newId ?? newJobId)(),
      kind,
      title: found.title(input),
      subject: found.subject(input),
      state: "queued",
      createdAt: new Date(clock.now()).toISOString(),
      waitingFor: [],
      steps: [],
      reasons: [],
      log: [],
      input: throughJson(input),
      ...(asked !== undefined && { asked }),
      cancelRequested: false,
      attempt: 0,
      lease: { owner, until: this.#leases.until() },
    };
    const created = await store.create(record, key);
    if (created.id !== record.id) return this.#live.get(created.id)?.record ?? created;
    const job = this.#adopt(created, found);
    this.#environment.publish(created);
    this.nudge();
    return job.record;
  }

  /**
   * Asks a job to stop; one that never ran is cancelled at once. The wish survives a crash. An ended job is
   * left as it is. Rejects with `not-found`, and with `conflict` when another server runs it.
   */
  async cancel(id: string): Promise<JobRecord> {
    const job = this.#live.get(id);
    if (!job) {
      const record = await this.get(id);
      if (isFinal(record.state)) return record;
      throw new EngineError("conflict", `job ${id} is held by another server (${record.lease?.owner ?? "none yet"}): cancel it there`);
    }
    await job.requestCancel();
    if (!this.#runs.has(id) && job.record.attempt === 0) {
      this.#run(job, () => Promise.resolve(cancelledInQueue));
      await this.#runs.get(id);
    }
    return job.record;
  }

  /** The job that this very request started before. Another request with the same key is for `submit` to refuse. */
  async repeated({ key, asked }: Exclude<IdempotencyKey, string>): Promise<JobRecord | undefined> {
    const before = await this.#options.store.find(key);
    return before?.asked === asked ? (this.#live.get(before.id)?.record ?? before) : undefined;
  }

  /** Rejects with `not-found`. */
  async get(id: string): Promise<JobRecord> {
    const record = this.#live.get(id)?.record ?? (await this.#options.store.get(id));
    if (!record) throw new EngineError("not-found", `there is no job '${id}'`);
    return this.#live.get(id)?.record ?? record;
  }

  /** Newest first. Log lines are only on what `get` gives. */
  async list(filter: JobFilter, page: { readonly limit: number; readonly cursor?: string | undefined }): Promise<JobRecord[]> {
    const records = await this.#options.store.list(filter, page);
    return records.map((record) => {
      const live = this.#live.get(record.id)?.record;
      return live ? { ...live, log: [] } : record;
    });
  }

  /** Every unfinished job of this server as it is now, oldest first. */
  unfinished(): JobRecord[] {
    return Array.from(this.#live.values(), ({ record }) => record);
  }

  /**
   * A job's state now, and its changes until it ended. A slow reader sees the newest state and costs no memory.
   * Ends quietly on abort and with the server; a job that another server holds is only shown as it is now.
   */
  watch(id: string, options: WatchOptions): AsyncIterable<JobRecord> {
    const live = this.#live.get(id);
    return live ? this.#watchers.open(id, options, live.record) : this.#once(id);
  }

  /** The changes of all jobs from this call on, the newest state of each. Ends as `watch` does. */
  watchAll(options: WatchOptions): AsyncIterable<JobRecord> {
    return this.#watchers.open(undefined, options);
  }

  /** Looks again who may start; for when a limit changed. */
  nudge(): void {
    if (this.#stop.signal.aborted) return;
    this.#admitAgain = true;
    this.#admitting ??= this.#admit().finally(() => {
      this.#admitting = undefined;
      if (this.#admitAgain) this.nudge();
    });
  }

  /**
   * Stops as a kill -9 would, but politely: running jobs are told `ServerStopping`, stay persisted as they
   * are, and are resumed by the next server. Resolves when they let go, at the latest after 3 s.
   */
  async stop(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const reason = new ServerStopping();
    await Promise.allSettled(Array.from(this.#live.values(), (job) => job.flush()));
    this.#stop.abort(reason);
    for (const job of this.#live.values()) job.fence(reason);
    const grace = new AbortController();
    const runs = Promise.allSettled([...this.#runs.values(), this.#admitting, this.#leases.ended()]);
    await Promise.race([runs, this.#options.clock.sleep(stopGraceMs, { signal: grace.signal }).catch(() => undefined)]);
    grace.abort();
    this.#watchers.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #environment(): ConstructorParameters<typeof LiveJob>[2] {
    const { store, clock, log } = this.#options;
    return { store, clock, log, publish: (record) => this.#watchers.publish(record), freed: () => this.nudge() };
  }

  async *#once(id: string): AsyncGenerator<JobRecord, void, undefined> {
    yield await this.get(id);
  }

  #adopt(record: JobRecord, kind: JobKind): LiveJob {
    const job = new LiveJob(record, kind, this.#environment);
    this.#live.set(record.id, job);
    return job;
  }

  #adoptAll(records: readonly JobRecord[]): void {
    for (const record of records) {
      const kind = this.#kinds.get(record.kind);
      const job = this.#adopt(record, kind ?? unknownKind(record));
      this.#options.log.info({ job: record.id, kind: record.kind, attempt: record.attempt }, `took over job '${record.title}'`);
      if (!kind) this.#run(job, () => Promise.resolve(unknownKindOutcome(record)));
      else if (record.cancelRequested && record.attempt === 0) this.#run(job, () => Promise.resolve(cancelledInQueue));
    }
    if (records.length > 0) this.nudge();
  }

  async #admit(): Promise<void> {
    this.#admitAgain = false;
    const running: Applicant[] = [];
    const queued: Applicant[] = [];
    for (const job of this.#live.values()) {
      const applicant = applicantOf(job);
      if (applicant instanceof Error) this.#fail(job, applicant);
      else if (this.#runs.has(job.record.id)) running.push(applicant);
      else queued.push(applicant);
    }
    if (queued.length === 0) return;
    const limits = await readLimits(queued);
    if (this.#admitAgain || this.#stop.signal.aborted) return;
    this.#carryOut(decideAdmission({ running, queued: resumedFirst(queued), limits }));
  }

  #carryOut({ admitted, waiting }: Admission): void {
    for (const [id, reasons] of waiting) this.#live.get(id)?.waitFor(reasons);
    for (const id of admitted) {
      const job = this.#live.get(id);
      if (job && !this.#runs.has(id)) this.#run(job, () => this.#attempt(job));
    }
  }

  #fail(job: LiveJob, error: Error): void {
    if (!this.#runs.has(job.record.id)) this.#run(job, () => Promise.resolve(failure(error, false)));
  }

  async #attempt(job: LiveJob): Promise<Outcome> {
    if (job.record.cancelRequested && job.record.attempt === 0) return cancelledInQueue;
    if (job.resumed) await raceAbort(Promise.resolve(this.#options.resumeAfter), job.fenced);
    await this.#begin(job);
    const { kind } = job;
    this.#options.log.info({ job: job.record.id, kind: kind.kind, attempt: job.record.attempt }, `job '${job.record.title}' runs`);
    try {
      return { state: "done", result: throughJson(await kind.run(job.context())) };
    } catch (error) {
      // Stopped where it was: it has no end yet, and the next server goes on with it.
      job.fenced.throwIfAborted();
      return failure(error, job.record.cancelRequested);
    }
  }

  async #begin(job: LiveJob): Promise<void> {
    for (;;) {
      try {
        await job.begin();
        return;
      } catch (error) {
        job.fenced.throwIfAborted();
        job.waitFor([{ code: "store", text: `cannot be written down, so it does not start: ${describeError(error)}` }]);
        await this.#options.clock.sleep(beginRetryMs, { signal: job.fenced });
      }
    }
  }

  /** Runs a job to its end, or until it is fenced. */
  #run(job: LiveJob, attempt: () => Promise<Outcome>): void {
    const { id } = job.record;
    const run = async (): Promise<void> => {
      try {
        await job.end(await attempt());
        this.#logEnd(job.record);
      } catch (error) {
        if (!job.fenced.aborted) throw error;
        this.#options.log.warn({ job: id }, `job '${job.record.title}' is left to the next server: ${describeError(error)}`);
      } finally {
        this.#runs.delete(id);
        this.#live.delete(id);
        this.nudge();
      }
    };
    this.#runs.set(id, run());
  }

  #logEnd(record: JobRecord): void {
    const fields = { job: record.id, kind: record.kind, state: record.state };
    if (record.state === "failed") this.#options.log.warn(fields, `job '${record.title}' failed: ${record.error?.message}`);
    else this.#options.log.info(fields, `job '${record.title}' ended: ${record.state}`);
    this.#endedSincePrune += 1;
    if (this.#endedSincePrune < pruneEvery) return;
    this.#endedSincePrune = 0;
    this.#options.store.prune(this.#options.keepEnded ?? 5000).catch((error: unknown) => {
      this.#options.log.warn({}, `old jobs could not be forgotten: ${describeError(error)}`);
    });
  }
}

const pruneEvery = 100;
const cancelledInQueue: Outcome = { state: "cancelled", error: { kind: "cancelled", message: "cancelled before it began" } };

function unknownKindOutcome({ kind, attempt }: JobRecord): Outcome {
  const left = attempt === 0 ? "it never ran" : `attempt ${attempt} was interrupted, and what it left was not undone`;
  const message = `this server does not know jobs of kind '${kind}' (was it replaced by an older one?): ${left}`;
  return { state: "failed", error: { kind: "unknown-job-kind", message } };
}

/** Stands in while the job of an unknown kind is being ended. */
function unknownKind(record: JobRecord): JobKind {
  return {
    kind: record.kind,
    title: () => record.title,
    subject: () => record.subject,
    locks: () => [],
    slots: () => [],
    run: () => Promise.reject(new EngineError("invalid", `there are no jobs of kind '${record.kind}'`)),
  };
}

function applicantOf({ kind, record, resumed, slotsFreed }: LiveJob): Applicant | Error {
  try {
    const slots = slotsFreed ? [] : kind.slots(record.input);
    return { id: record.id, title: record.title, locks: kind.locks(record.input), slots, resumed };
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** What a dead server ran still holds its locks out there, so it goes before what only waited. */
function resumedFirst(queued: readonly Applicant[]): Applicant[] {
  return [...queued.filter(({ resumed }) => resumed), ...queued.filter(({ resumed }) => !resumed)];
}

async function readLimits(queued: readonly Applicant[]): Promise<Map<string, number | Error>> {
  const slots = new Map(queued.flatMap((applicant) => applicant.slots).map((slot) => [slot.name, slot]));
  const read = async (name: string, limit: () => Promise<number>): Promise<[string, number | Error]> => {
    try {
      return [name, await limit()];
    } catch (error) {
      return [name, error instanceof Error ? error : new Error(String(error))];
    }
  };
  return new Map(await Promise.all(Array.from(slots, ([name, slot]) => read(name, () => slot.limit()))));
}

/** 48 bits, short enough to type; the store refuses one that exists. */
function newJobId(): string {
  return randomBytes(6).toString("hex");
}
