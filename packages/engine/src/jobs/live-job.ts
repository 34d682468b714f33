import { abortReason, CancelledError, type Clock, describeError, type JsonObject } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { Reason } from "../model/reason.ts";
import type { JobStore } from "../ports/store.ts";
import { StoreError } from "../ports/store-error.ts";
import { type JobContext, type JobKind, type JobLogLine, type JobProgress, type JobRecord, type JobStepRecord, LeaseLost } from "./job.ts";
import { type Outcome, throughJson } from "./outcome.ts";

/** What the runner says about jobs to the server's own log. */
export interface JobLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

export interface LiveJobEnvironment {
  readonly store: JobStore;
  readonly clock: Clock;
  readonly log: JobLog;
  publish(record: JobRecord): void;
  /** A job gave its slots back before its end. */
  freed(): void;
}

/** Progress and log lines reach the store at most this often. */
const lazySaveMs = 1000;
const maxLogLines = 1000;
const maxLogLineLength = 4096;

/** A job that this server holds: its record, its signals, and the one path by which the record is written. */
export class LiveJob {
  readonly kind: JobKind;
  /** A server that died ran it before. */
  readonly resumed: boolean;
  readonly #environment: LiveJobEnvironment;
  readonly #fence = new AbortController();
  readonly #cancel = new AbortController();
  #record: JobRecord;
  #writing: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #lastSaved = -Infinity;
  #lazy = false;
  /** Its end is being saved, or is saved. */
  #ending = false;
  #slotsFreed = false;

  constructor(record: JobRecord, kind: JobKind, environment: LiveJobEnvironment) {
    this.#record = record;
    this.kind = kind;
    this.resumed = record.attempt > 0;
    this.#environment = environment;
    if (record.cancelRequested) this.#cancel.abort(new CancelledError(cancelText));
  }

  get record(): JobRecord {
    return this.#record;
  }

  get slotsFreed(): boolean {
    return this.#slotsFreed;
  }

  /** Fired once this server may no longer act for the job. */
  get fenced(): AbortSignal {
    return this.#fence.signal;
  }

  /** Nothing is written any more, and whoever runs it is told to stop where he is. */
  fence(reason: Error): void {
    this.#fence.abort(reason);
  }

  /** Shown to watchers, not persisted: it follows from the other jobs. */
  waitFor(reasons: readonly Reason[]): void {
    if (JSON.stringify(reasons) === JSON.stringify(this.#record.waitingFor)) return;
    this.#show({ waitingFor: reasons });
  }

  async begin(): Promise<void> {
    const { state, startedAt, attempt, cancelRequested } = this.#record;
    await this.#commit(
      {
        state: cancelRequested ? "cancelling" : "running",
        startedAt: startedAt ?? this.#now(),
        attempt: attempt + 1,
        waitingFor: [],
      },
      { state, startedAt, attempt },
    );
  }

  /** Persists the wish before anybody is told, so that it survives a crash. */
  async requestCancel(): Promise<void> {
    if (this.#record.cancelRequested || this.#ending) return;
    const { state } = this.#record;
    await this.#commit({ cancelRequested: true, state: state === "running" ? "cancelling" : state }, { cancelRequested: false, state });
    this.#cancel.abort(new CancelledError(cancelText));
  }

  /**
   * Ends the job. Tries until the store took it, because what was done must not be done again; rejects only
   * once the job is fenced. Nobody sees the end before it is durable.
   */
  async end(outcome: Outcome): Promise<void> {
    await this.#writing;
    this.#ending = true;
    const { progress: _, ...record } = this.#record;
    const ended: JobRecord = { ...record, ...outcome, endedAt: this.#now(), waitingFor: [] };
    for (let pause = 1000; ; pause = Math.min(pause * 2, 30_000)) {
      this.#fence.signal.throwIfAborted();
      try {
        await this.#environment.store.save({ ...ended, log: this.#record.log });
        break;
      } catch (error) {
        this.#noteLeaseLost(error);
        this.#fence.signal.throwIfAborted();
        this.#environment.log.warn({ job: ended.id }, `the end of the job cannot be saved yet: ${describeError(error)}`);
        await this.#environment.clock.sleep(pause, { signal: this.#fence.signal });
      }
    }
    const { lease: __, ...final } = ended;
    this.#record = { ...final, log: this.#record.log };
    this.#environment.publish(this.#record);
  }

  /** Writes what only watchers have seen so far. */
  async flush(): Promise<void> {
    if (this.#lazy) await this.#save();
  }

  context(): JobContext<JsonObject> {
    const { id, input, attempt } = this.#record;
    const cancelRequested = (): boolean => this.#record.cancelRequested;
    return {
      id,
      input,
      attempt,
      signal: AbortSignal.any([this.#fence.signal, this.#cancel.signal]),
      stopping: this.#fence.signal,
      get cancelRequested() {
        return cancelRequested();
      },
      step: (name, body) => this.#step(name, body),
      recorded: (name) => this.#record.steps.find((step) => step.name === name),
      note: (name, output) => this.#note(name, output),
      progress: (progress) => this.#progress(progress),
      freeSlots: () => {
        this.#slotsFreed = true;
        this.#environment.freed();
      },
      reason: (reason) => this.#commit({ reasons: [...this.#record.reasons, reason] }),
      log: (level, text) => this.#log(level, text),
    };
  }

  async #step<T>(name: string, body: () => Promise<T>): Promise<T> {
    this.#fence.signal.throwIfAborted();
    const before = this.#record.steps.find((step) => step.name === name);
    if (before?.state === "done") return before.output as T;
    const startedAt = this.#now();
    await this.#commit({ steps: this.#withStep({ name, state: "running", startedAt }) });
    let output: T;
    try {
      output = throughJson(await body());
    } catch (error) {
      // The step's own error is what counts; the final state is saved with every step of the record.
      await this.#commit({ steps: this.#withStep({ name, state: "failed", startedAt, endedAt: this.#now() }) }).catch(() => undefined);
      throw error;
    }
    await this.#commit({ steps: this.#withStep({ name, state: "done", startedAt, endedAt: this.#now(), output }) });
    return output;
  }

  async #note(name: string, output: unknown): Promise<void> {
    const at = this.#now();
    await this.#commit({ steps: this.#withStep({ name, state: "done", startedAt: at, endedAt: at, output: throughJson(output) }) });
  }

  #withStep(step: JobStepRecord): JobStepRecord[] {
    const at = this.#record.steps.findIndex(({ name }) => name === step.name);
    return at < 0 ? [...this.#record.steps, step] : this.#record.steps.with(at, step);
  }

  #progress(progress: JobProgress): void {
    if (!this.#mayShow()) return;
    this.#show({ progress });
    this.#saveSoon();
  }

  #log(level: JobLogLine["level"], text: string): void {
    if (!this.#mayShow()) return;
    const line = { at: this.#now(), level, text: text.slice(0, maxLogLineLength) };
    this.#show({ log: [...this.#record.log.slice(1 - maxLogLines), line] });
    this.#saveSoon();
  }

  #mayShow(): boolean {
    return !this.#fence.signal.aborted && !this.#ending;
  }

  #show(change: Partial<JobRecord>): void {
    this.#record = { ...this.#record, ...change };
    this.#environment.publish(this.#record);
  }

  /** Resolves once the change is durable. When it cannot be saved, `orElse` is put back in memory. */
  async #commit(change: Partial<JobRecord>, orElse: Partial<JobRecord> = {}): Promise<void> {
    this.#record = { ...this.#record, ...change };
    try {
      await this.#save();
    } catch (error) {
      this.#record = { ...this.#record, ...orElse };
      throw error;
    }
    this.#environment.publish(this.#record);
  }

  /** One write at a time; whoever asks meanwhile shares the next one. */
  #save(): Promise<void> {
    this.#next ??= this.#writing.then(async () => {
      this.#next = undefined;
      this.#lazy = false;
      this.#lastSaved = this.#environment.clock.monotonic();
      this.#fence.signal.throwIfAborted();
      if (this.#ending) throw new EngineError("conflict", `job ${this.#record.id} has ended`);
      await this.#environment.store.save(this.#record).catch((error: unknown) => {
        this.#noteLeaseLost(error);
        throw this.#fence.signal.aborted ? abortReason(this.#fence.signal) : error;
      });
    });
    this.#writing = this.#next.catch(() => undefined);
    return this.#next;
  }

  #saveSoon(): void {
    if (this.#lazy) return;
    this.#lazy = true;
    const { clock, log } = this.#environment;
    const wait = this.#lastSaved + lazySaveMs - clock.monotonic();
    clock
      .sleep(Math.max(0, wait), { signal: this.#fence.signal })
      .then(() => (this.#lazy && !this.#ending ? this.#save() : undefined))
      .catch((error: unknown) => {
        if (!this.#fence.signal.aborted) log.warn({ job: this.#record.id }, `progress could not be saved: ${describeError(error)}`);
      });
  }

  #noteLeaseLost(error: unknown): void {
    if (error instanceof StoreError && error.kind === "lease-lost") this.fence(new LeaseLost());
  }

  #now(): string {
    return new Date(this.#environment.clock.now()).toISOString();
  }
}

const cancelText = "cancelled on request";
