import {
  CaptureResult,
  ConfirmResult,
  FilesCaptured,
  FilesRecovered,
  type Job,
  MigrationResult,
  MovesResult,
  RecoverResult,
  StorageMoveResult,
} from "@godwit/api";
import { setTimeout as sleep } from "node:timers/promises";
import { captureTable, filesTable, unpackedTable } from "./capture-table.ts";
import { movesTable } from "./output/moves.ts";
import { type Context, print } from "./context.ts";
import { apiProblem, CliError, codeOfKind, exitCode } from "./exit.ts";
import { renderFields, renderTable } from "./output/table.ts";
import { formatBytes, formatDuration } from "./output/units.ts";
import { ProgressDisplay } from "./progress.ts";
import { confirmTable, recoverTable } from "./recover-table.ts";

export function isEnded(job: Job): boolean {
  return job.state === "done" || job.state === "failed" || job.state === "cancelled";
}

/** So long a server may be away that restarts: its jobs go on when it is back. Milliseconds. */
const awayMs = 60_000;
const askAgainMs = 500;

/** The server is away, or going: that says nothing of the job. */
function isAway(error: unknown): boolean {
  const problem = apiProblem(error);
  if (problem) return problem.status === 503;
  return error instanceof Error && !["AbortError", "ZodError", "SyntaxError"].includes(error.name);
}

/** Watches a job to its end. A connection that breaks is taken up again; Ctrl-C asks the server to cancel. */
export async function followJob(context: Context, start: Job, onCancel: "cancel" | "leave" = "cancel"): Promise<Job> {
  const display = new ProgressDisplay(context.err);
  const watching = new AbortController();
  const interrupt = (): void => {
    if (onCancel === "leave") return watching.abort();
    context.err.write("\ncancelling; the job ends when the hypervisor has let go\n");
    context.client.call("jobCancel", { params: { job: start.id } }).catch(() => undefined);
  };
  context.signal.addEventListener("abort", interrupt, { once: true });
  const { signal } = watching;
  let job = start;
  let awaySince: number | undefined;
  try {
    while (!isEnded(job)) {
      try {
        for await (const update of context.client.stream("jobWatch", { params: { job: job.id }, signal })) {
          job = update;
          awaySince = undefined;
          display.show(job);
          if (isEnded(job)) break;
        }
        if (!isEnded(job)) job = await context.client.call("jobGet", { params: { job: job.id }, signal });
      } catch (error) {
        signal.throwIfAborted(); // a stream that is cut says only that it was
        awaySince ??= performance.now();
        if (!isAway(error) || performance.now() - awaySince > awayMs) throw error;
        await sleep(askAgainMs, undefined, { signal });
      }
    }
  } finally {
    context.signal.removeEventListener("abort", interrupt);
    display.done();
  }
  return job;
}

function promise({ maximumPauseMs, policy, held, throttlePercent, atLast }: NonNullable<MigrationResult["contract"]>): string {
  const kept = held === undefined ? "" : held ? ", held" : ", NOT held";
  const slowed = throttlePercent === undefined ? "" : `, the guest slowed by up to ${throttlePercent} %`;
  return `at most ${formatDuration(maximumPauseMs)} (${policy})${kept}${slowed}${atLast === undefined ? "" : `: ${atLast}`}`;
}

function transportText({ parallelConnections, compression, tls, zeroCopy }: NonNullable<MigrationResult["transport"]>): string {
  const parts = [
    parallelConnections === undefined ? "by one stream" : `by ${parallelConnections} streams`,
    compression === undefined ? "not compressed" : `compressed (${compression})`,
    tls ? "encrypted" : "not encrypted",
  ];
  return [...parts, ...(zeroCopy ? ["without a copy"] : [])].join(", ");
}

/** The table of a finished migration: the proof. */
export function migrationTable(result: MigrationResult): string {
  const fields = renderFields([
    [
      "VM",
      `${result.vm}: ${result.source} → ${result.destination} (${result.kind}, driven by the ${result.driver === "server" ? "server" : "source host"})`,
    ],
    ["network", result.network && `${result.network}, to ${result.destinationAddress ?? ""}`],
    ["time", formatDuration(result.totalMs)],
    ["waited", result.waitedMs === undefined ? undefined : `${formatDuration(result.waitedMs)}, for the pauses of others`],
    ["pause", result.pauseMs === undefined ? "not reported" : formatDuration(result.pauseMs)],
    ["promised", result.contract && promise(result.contract)],
    ["forecast", result.forecast?.text],
    ["rounds", result.rounds],
    ["dirty rate", result.dirtyBytesPerSecond === undefined ? undefined : `${formatBytes(result.dirtyBytesPerSecond)}/s`],
    ["sent", result.transport && transportText(result.transport)],
    ["memory moved", formatBytes(result.memoryBytes)],
    ["disk moved", result.diskBytes > 0 ? formatBytes(result.diskBytes) : undefined],
    ["proof", result.proof],
  ]);
  const interfaces = renderTable(
    [
      { title: "HOST", value: (row) => row.host },
      { title: "INTERFACE", value: (row) => row.interface },
      { title: "NETWORK", value: (row) => row.network },
      { title: "SENT", value: (row) => formatBytes(row.sentBytes), align: "right" },
      { title: "RECEIVED", value: (row) => formatBytes(row.receivedBytes), align: "right" },
    ],
    result.interfaces,
  );
  return `${fields}\n${interfaces}`;
}

/** The table of disks that were moved. */
export function storageTable(result: StorageMoveResult): string {
  const head = renderFields([
    ["VM", `${result.vm} on ${result.host}, ${result.running ? "running all the time" : "off"}`],
    ["time", formatDuration(result.totalMs)],
  ]);
  const disks = renderTable(
    [
      { title: "DISK", value: (disk) => disk.target },
      { title: "FORMAT", value: (disk) => disk.format },
      { title: "FROM", value: (disk) => disk.from },
      { title: "TO", value: (disk) => disk.to },
      { title: "TIME", value: (disk) => formatDuration(disk.totalMs), align: "right" },
    ],
    result.disks,
  );
  return `${head}\n${disks}`;
}

/** The table of whatever a job came to; empty for results that say nothing more than the job itself. */
function resultTable(result: unknown): string {
  const migration = MigrationResult.safeParse(result);
  if (migration.success) return migrationTable(migration.data);
  const storage = StorageMoveResult.safeParse(result);
  if (storage.success) return storageTable(storage.data);
  const captured = CaptureResult.safeParse(result);
  if (captured.success) return captureTable(captured.data);
  const moves = MovesResult.safeParse(result);
  if (moves.success) return movesTable(moves.data);
  const recovered = RecoverResult.safeParse(result);
  if (recovered.success) return recoverTable(recovered.data);
  const files = FilesCaptured.safeParse(result);
  if (files.success) return filesTable(files.data);
  const unpacked = FilesRecovered.safeParse(result);
  if (unpacked.success) return unpackedTable(unpacked.data);
  const confirmed = ConfirmResult.safeParse(result);
  return confirmed.success ? confirmTable(confirmed.data) : "";
}

export function jobTable(job: Job): string {
  const head = renderFields([
    ["job", job.id],
    ["what", job.title],
    ["state", job.state],
    ["created", job.createdAt],
    ["started", job.startedAt],
    ["ended", job.endedAt],
    ["waiting for", job.waitingFor.length > 0 ? job.waitingFor.map((reason) => reason.text).join("; ") : undefined],
    ["now", job.progress && !isEnded(job) ? job.progress.phase : undefined],
    ["error", job.error ? (job.error.detail ?? job.error.title) : undefined],
  ]);
  const steps = job.steps.map((step) => `  ${step.state.padEnd(8)} ${step.name}\n`).join("");
  const reasons = job.reasons.map((reason) => `  ${reason.text}\n`).join("");
  const log = job.log.map((line) => `  ${line.at} ${line.level} ${line.text}\n`).join("");
  const result = resultTable(job.result);
  return [head, steps && `steps:\n${steps}`, reasons && `reasons:\n${reasons}`, log && `log:\n${log}`, result && `\n${result}`].join("");
}

function summary(job: Job): string {
  return resultTable(job.result) || `${job.title}: done\n`;
}

/**
 * What every command does with the job it started: wait and show it, or only print it. Throws with the
 * job's own exit code unless it is done.
 */
export async function finishJob(
  context: Context,
  job: Job,
  options: { readonly wait: boolean; readonly onCancel?: "cancel" | "leave" },
): Promise<void> {
  if (!options.wait) return print(context, job, (started) => `${started.id}\n`);
  const ended = await followJob(context, job, options.onCancel);
  if (ended.state === "done") return print(context, ended, summary);
  if (context.format !== "table") print(context, ended, jobTable);
  if (ended.state === "cancelled") throw new CliError(exitCode.cancelled, `${ended.title}: cancelled`);
  const { error } = ended;
  const reasons = error?.checks?.filter((check) => check.verdict === "fail") ?? [];
  const lines = reasons.map((check) => `\n  ${check.id}: ${check.text}${check.remedy === undefined ? "" : `\n    → ${check.remedy}`}`);
  throw new CliError(codeOfKind(error?.kind ?? "failed"), `${ended.title}: ${error?.detail ?? error?.title ?? "failed"}${lines.join("")}`);
}
