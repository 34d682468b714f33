import type { JsonObject } from "@godwit/core";
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
  readonly type: "vm" | "host" | "cluster";
  readonly id: string;
  readonly name: string;
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
  readonly result?: unknown;
  readonly error?: JobError | undefined;
  /** Asked to stop; survives a restart. */
  readonly cancelRequested: boolean;
  /** How often a server has begun to run it; above 1 the job must first find out what the attempt before left. */
  readonly attempt: number;
  readonly lease?: { readonly owner: string; readonly until: number } | undefined;
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
 * `signal` fires when the admin cancels (reason: `CancelledError`) or when the server stops (reason:
 * `ServerStopping`): on the latter the job must just stop where it is, as a kill -9 would, because the next
 * server takes it over.
 */
export interface JobContext<Input extends JsonObject> {
  readonly id: string;
  readonly input: Input;
  readonly attempt: number;
  readonly signal: AbortSignal;
  /** True once the admin asked for it, even before this attempt began. */
  readonly cancelRequested: boolean;
  /**
   * Runs `body` as a named step. The step is persisted as running before `body` starts and with its output
   * when it ends. A step that an earlier attempt completed is not run again: its output is given back.
   */
  step<T>(name: string, body: () => Promise<T>): Promise<T>;
  /** The record of a step of this or an earlier attempt: how far did it get? */
  recorded(name: string): JobStepRecord | undefined;
  /** Persists a fact under a name at once, before something that cannot be undone. Read it back with `recorded`. */
  note(name: string, output: unknown): Promise<void>;
  /** Shown to watchers at once, persisted at most every second. */
  progress(progress: JobProgress): void;
  reason(reason: Reason): Promise<void>;
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
