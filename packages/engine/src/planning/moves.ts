import { type Clock, describeError, type JsonObject } from "@godwit/core";
import { isFinal, type JobContext, type JobRecord, ServerStopping } from "../jobs/job.ts";
import type { MigrationResult } from "../migration/index.ts";
import type { ChildJobs } from "./drains.ts";

/** A migration that a drain, a resume or a balance wants. */
export interface WantedMove {
  readonly vmId: string;
  readonly vm: string;
  readonly destinationId: string;
  readonly destination: string;
  /** Input of the migration's job. */
  readonly input: JsonObject;
  readonly predictedMs?: number | undefined;
  /** Why there, for people. */
  readonly why?: string | undefined;
}

/** How a wanted move ended. Sizes in bytes. */
export interface MoveOutcome {
  readonly vmId: string;
  readonly vm: string;
  readonly destinationId: string;
  readonly destination: string;
  readonly outcome: "moved" | "failed" | "cancelled";
  readonly jobId?: string | undefined;
  readonly network?: string | undefined;
  readonly totalMs?: number | undefined;
  readonly predictedMs?: number | undefined;
  /** Besides, it waited for so long, running on, for the pauses of others. */
  readonly waitedMs?: number | undefined;
  readonly pauseMs?: number | undefined;
  /** The pause that was promised. */
  readonly promisedPauseMs?: number | undefined;
  readonly memoryBytes?: number | undefined;
  /** Why it went there. */
  readonly why?: string | undefined;
  /** What had to be done for the pause's sake, if anything. */
  readonly atLast?: string | undefined;
  /** Which interface carried it, in one sentence. */
  readonly proof?: string | undefined;
  readonly error?: { readonly kind: string; readonly message: string } | undefined;
}

/** What a drain, a resume or a balance came to. */
export interface MovesResult {
  readonly host?: string | undefined;
  readonly moves: readonly MoveOutcome[];
  /** VMs that were left as they are, and why. */
  readonly left: readonly { readonly vm: string; readonly reason: string }[];
  readonly totalMs: number;
  readonly predictedMs?: number | undefined;
  /** What the moves' own forecasts came to. */
  readonly scheduledMs?: number | undefined;
}

export interface MovesOptions {
  readonly jobs: ChildJobs;
  readonly clock: Clock;
  readonly concurrency: number;
  /** Tells this batch from others of the same job. */
  readonly batch: string;
  /** Persists what a move came to. */
  readonly ended: (outcome: MoveOutcome) => Promise<void>;
}

type Context = Pick<JobContext<JsonObject>, "id" | "signal" | "stopping" | "recorded" | "note" | "progress" | "log">;

/** A move that takes longer than this, and than several times what was foretold, is given up; milliseconds. */
const patienceMs = 30 * 60_000;
const patienceFactor = 5;
/** A migration's job has got so far when its VM runs on the destination. */
const arrivedStep = "phase:confirm";

/**
 * Runs migrations as jobs of their own, some at a time, in order, and waits for the end of each: the next one begins
 * when a VM has arrived, as tidying up behind it takes time, but little else. May run again
 * after a crash: what was submitted is found again under its key. A cancel cancels those that run, and waits
 * until they have let go. Rejects only when this server must stop, or on a cancel.
 */
export async function runMoves(context: Context, moves: readonly WantedMove[], options: MovesOptions): Promise<MoveOutcome[]> {
  const outcomes = new Map<string, MoveOutcome>();
  const waiting = [...moves];
  const show = (): void => {
    const phase = `${outcomes.size} of ${moves.length} VMs have moved or tried to`;
    context.progress({ phase, fraction: moves.length === 0 ? 1 : outcomes.size / moves.length });
  };
  const ends: Promise<void>[] = [];
  const follow = async (move: WantedMove, arrived: () => void): Promise<void> => {
    const outcome = await one(context, move, { ...options, arrived });
    outcomes.set(move.vmId, outcome);
    context.log(outcome.outcome === "moved" ? "info" : "warn", outcomeText(outcome));
    await options.ended(outcome);
    show();
  };
  const worker = async (): Promise<void> => {
    for (let move = waiting.shift(); move && !context.signal.aborted; move = waiting.shift()) {
      const there = Promise.withResolvers<void>();
      const end = follow(move, there.resolve);
      end.catch(() => undefined); // whoever waits for all ends hears of it
      ends.push(end);
      await Promise.race([there.promise, end]);
    }
  };
  show();
  await Promise.all(Array.from({ length: Math.max(1, options.concurrency) }, worker));
  await Promise.all(ends);
  context.signal.throwIfAborted();
  return moves.flatMap(({ vmId }) => outcomes.get(vmId) ?? []);
}

interface OneOptions extends MovesOptions {
  /** The VM runs there: the next one may go, while this one's source is tidied up. */
  readonly arrived: () => void;
}

async function one(context: Context, move: WantedMove, options: OneOptions): Promise<MoveOutcome> {
  const { jobs, batch } = options;
  const { vmId, vm, destinationId, destination, predictedMs, why } = move;
  const made = { vmId, vm, destinationId, destination, predictedMs, why };
  try {
    const child = await submit(context, move, { jobs, batch });
    return { ...made, jobId: child.id, ...ended(await toItsEnd(context, child, move, options)) };
  } catch (error) {
    context.stopping.throwIfAborted();
    return { ...made, outcome: "failed", error: { kind: kindOf(error), message: describeError(error) } };
  }
}

/** What is submitted is written down first: after a crash the VM may be elsewhere, and the input another. */
async function submit(context: Context, move: WantedMove, { jobs, batch }: Pick<MovesOptions, "jobs" | "batch">): Promise<JobRecord> {
  const name = `migrate:${batch}:${move.vmId}`;
  const before = context.recorded(name)?.output as JsonObject | undefined;
  if (!before) await context.note(name, move.input);
  return await jobs.submit("vm.migrate", before ?? move.input, { idempotencyKey: `${context.id}/${name}` });
}

/** Waits for a migration; one that takes too long is cancelled, and then ends by itself. */
async function toItsEnd(
  context: Context,
  child: JobRecord,
  { vm, input, predictedMs = 0 }: WantedMove,
  { jobs, clock, arrived }: Pick<OneOptions, "jobs" | "clock" | "arrived">,
): Promise<JobRecord> {
  const over = new AbortController();
  const limit = Math.max(patienceMs, predictedMs * patienceFactor);
  const stop = (): void => {
    const stopping = context.stopping.aborted || context.signal.reason instanceof ServerStopping;
    if (!stopping) jobs.cancel(child.id).catch(() => undefined); // its end is waited for either way
  };
  const giveUp = (): void => {
    context.log("warn", `${vm} has not moved within ${Math.round(limit / 60_000)} minutes: given up`);
    stop();
  };
  let counting = false;
  const count = (): void => {
    if (!counting) clock.sleep(limit, { signal: over.signal }).then(giveUp, () => undefined);
    counting = true;
  };
  // One that was told to wait for a capture waits as long as that takes.
  if (input["waitForCapture"] !== true) count();
  context.signal.addEventListener("abort", stop, { once: true });
  if (context.signal.aborted) stop();
  const waiting = new Waiting(context, vm);
  try {
    for (;;) {
      context.stopping.throwIfAborted();
      for await (const record of jobs.watch(child.id, { signal: context.stopping })) {
        if (record.state !== "queued") count();
        if (isFinal(record.state)) return record;
        if (record.steps.some(({ name }) => name === arrivedStep)) arrived();
        waiting.tell(record);
      }
      const record = await jobs.get(child.id);
      if (isFinal(record.state)) return record;
    }
  } finally {
    over.abort();
    context.signal.removeEventListener("abort", stop);
  }
}

/** Says in the job's log what a move waits for, once for each reason. */
class Waiting {
  readonly #context: Context;
  readonly #vm: string;
  #said = "";

  constructor(context: Context, vm: string) {
    this.#context = context;
    this.#vm = vm;
  }

  tell({ waitingFor }: JobRecord): void {
    const why = waitingFor.map(({ text }) => text).join("; ");
    if (why !== "" && why !== this.#said) this.#context.log("info", `${this.#vm} waits: ${why}`);
    this.#said = why;
  }
}

function ended({ state, result, error }: JobRecord): Pick<MoveOutcome, "outcome"> & Partial<MoveOutcome> {
  if (state !== "done") {
    const { kind = state, message = state } = error ?? {};
    return { outcome: state === "cancelled" ? "cancelled" : "failed", error: { kind, message } };
  }
  const { network, totalMs, waitedMs, pauseMs, memoryBytes, proof, contract } = result as MigrationResult;
  return {
    outcome: "moved",
    network,
    totalMs,
    ...(waitedMs !== undefined && { waitedMs }),
    pauseMs,
    ...(contract && { promisedPauseMs: contract.maximumPauseMs }),
    memoryBytes,
    proof,
    ...(contract?.atLast !== undefined && { atLast: contract.atLast }),
  };
}

function isOver({ pauseMs, promisedPauseMs }: Pick<MoveOutcome, "pauseMs" | "promisedPauseMs">): boolean {
  return pauseMs !== undefined && promisedPauseMs !== undefined && pauseMs > promisedPauseMs;
}

function kindOf(error: unknown): string {
  return error instanceof Error && "kind" in error && typeof error.kind === "string" ? error.kind : "failed";
}

function outcomeText({ vm, destination, outcome, network, totalMs, pauseMs, promisedPauseMs, error, proof }: MoveOutcome): string {
  const broken = isOver({ pauseMs, promisedPauseMs }) ? `, paused for ${pauseMs} ms although ${promisedPauseMs} ms were promised` : "";
  if (outcome === "moved")
    return `${vm} moved to ${destination} over ${network} in ${((totalMs ?? 0) / 1000).toFixed(1)} s${broken}: ${proof}`;
  return `${vm} did not move to ${destination}: ${error?.message}`;
}
