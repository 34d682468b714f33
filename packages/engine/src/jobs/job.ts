import { canonicalJson, type JsonObject } from "@godwit/core";
import type { Check, Reason } from "../model/reason.ts";

export type JobState = "queued" | "running" | "cancelling" | "done" | "failed" | "cancelled";

export interface JobProgress {
  readonly phase: string;
  readonly fraction?: number | undefined;
  readonly memoryTotalBytes?: number | undefined;
  readonly memoryRemainingBytes?: number | undefined;
  readonly diskTotalBytes?: number | undefined;
  readonly diskRemainingBytes?: number | undefined;
  readonly bytesPerSecond?: number | undefined;
  readonly dirtyBytesPerSecond?: number | undefined;
  readonly remainingSeconds?: number | undefined;
}

export interface JobStepRecord {
  readonly name: string;
  readonly state: "running" | "done" | "failed";
  readonly startedAt: string;
  readonly endedAt?: string | undefined;
  readonly output?: unknown;
}

export interface JobLogLine {
  readonly at: string;
  readonly level: "info" | "warn" | "error";
  readonly text: string;
}

export interface JobError {
  readonly kind: string;
  readonly message: string;
  readonly checks?: readonly Check[] | undefined;
}

export interface JobSubject {
  readonly type: "vm" | "host" | "cluster" | "vault";
  readonly id: string;
  readonly name: string;
}

/** Which server may act for a job. `until` changes with every renewal; see `JobStore.claim` for when it is over. */
export interface JobLease {
  readonly owner: string;
  /** Milliseconds since the Unix epoch. */
  readonly until: number;
}

/** A long operation as it is persisted. */
export interface JobRecord {
  readonly id: string;
  readonly kind: string;
  readonly title: string;
  readonly subject: JobSubject;
  readonly state: JobState;
  readonly createdAt: string;
  readonly startedAt?: string | undefined;
  readonly endedAt?: string | undefined;
  readonly waitingFor: readonly Reason[];
  readonly progress?: JobProgress | undefined;
  readonly steps: readonly JobStepRecord[];
  readonly reasons: readonly Reason[];
  readonly log: readonly JobLogLine[];
  readonly input: JsonObject;
  /** Digest of the request that the job came from, where it may be repeated: its input was made of what was true then. */
  readonly asked?: string | undefined;
  readonly result?: unknown;
  readonly error?: JobError | undefined;
  /** Asked to stop; survives a restart. */
  readonly cancelRequested: boolean;
  /** How often a server has begun to run it; above 1 the job must first find out what the attempt before left. */
  readonly attempt: number;
  readonly lease?: JobLease | undefined;
}

/** A key under which a job is submitted once, and the digest of the request where that was told. */
export type IdempotencyKey = string | { readonly key: string; readonly asked: string };

/** What the key was used for is what is asked for now. */
export function isRepeated(before: JobRecord, now: Pick<JobRecord, "kind" | "input" | "asked">): boolean {
  if (before.asked !== undefined && before.asked === now.asked) return true;
  return before.kind === now.kind && canonicalJson(before.input) === canonicalJson(now.input);
}

/** A counted place that a job needs before it starts, such as one of a host's live migrations. */
export interface JobSlot {
  readonly name: string;
  /** Read at every admission, so that a changed setting counts at once. */
  limit(): Promise<number>;
  /** For the reason of a wait: `live migrations on alpha`. */
  readonly label: string;
}

/**
 * What a running job may do with its record. Everything that matters is persisted before it resolves.
 *
 * `signal` fires when the admin cancels (reason: `CancelledError`), when the server stops (`ServerStopping`)
 * or when another server took the job over (`LeaseLost`). On the latter two the job must just stop where it
 * is, as a kill -9 would, because another server goes on with it: `step` and `note` then reject. After a
 * cancel they still work, for the undoing; an attempt that follows a cancel begins with `signal` fired.
 */
export interface JobContext<Input extends JsonObject> {
  readonly id: string;
  readonly input: Input;
  readonly attempt: number;
  readonly signal: AbortSignal;
  /** Fires only when this server may no longer act: what undoes after a cancel waits with this one. */
  readonly stopping: AbortSignal;
  /** True once the admin asked for it, even before this attempt began. */
  readonly cancelRequested: boolean;
  /**
   * Runs `body` as a named step. The step is persisted as running before `body` starts and with its output
   * when it ends. A step that an earlier attempt completed is not run again: its output is given back, so it
   * must survive JSON. A step that did not complete is run again from its start.
   */
  step<T>(name: string, body: () => Promise<T>): Promise<T>;
  /** The record of a step of this or an earlier attempt: how far did it get? */
  recorded(name: string): JobStepRecord | undefined;
  /** Persists a fact under a name at once, before something that cannot be undone. Read it back with `recorded`. */
  note(name: string, output: unknown): Promise<void>;
  /** Shown to watchers at once, persisted at most every second. */
  progress(progress: JobProgress): void;
  reason(reason: Reason): Promise<void>;
  /** Gives the job's slots to others before its end: what is left to do takes none. Its locks stay. */
  freeSlots(): void;
  log(level: JobLogLine["level"], text: string): void;
}

/**
 * A kind of job. `run` may be called again after a crash (`attempt` above 1) and must then finish or undo
 * what is there; it returns the result, or throws. A thrown cancellation ends the job as `cancelled`, any
 * other error as `failed`.
 */
export interface JobKind<Input extends JsonObject = JsonObject> {
  readonly kind: string;
  title(input: Input): string;
  subject(input: Input): JobSubject;
  /** Names that only one job may hold at a time, such as `vm:<id>`. Jobs queue in order for each. */
  locks(input: Input): readonly string[];
  slots(input: Input): readonly JobSlot[];
  run(context: JobContext<Input>): Promise<unknown>;
}

/** The reason of `JobContext.signal` when the server is stopping. */
export class ServerStopping extends Error {
  override readonly name = "ServerStopping";
  constructor() {
    super("the server is stopping");
  }
}

/** The reason of `JobContext.signal` when another server took the job over. */
export class LeaseLost extends Error {
  override readonly name = "LeaseLost";
  constructor() {
    super("another server took the job over");
  }
}

export function isFinal(state: JobState): boolean {
  return state === "done" || state === "failed" || state === "cancelled";
}
