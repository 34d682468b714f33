import { isFinal, type JobRecord } from "../../jobs/job.ts";
import { keptRuns, type MemberRecord, type RunRecord } from "./model.ts";

/** What a group reads of a capture's result; a parked one names the job that goes on. */
interface CaptureOutcome {
  readonly outcome?: "captured" | "parked";
  readonly continuedBy?: string;
  readonly pointId?: string;
  readonly readBytes?: number;
  readonly storedBytes?: number;
  readonly frozenMs?: number;
  readonly check?: readonly { readonly unexpectedBytes?: number }[];
  readonly disks?: readonly { readonly mode: string; readonly readBytes: number }[];
}

export function isEnded(job: JobRecord): boolean {
  return isFinal(job.state);
}

/** The record after its job ended; without a job, after the job was forgotten before anybody looked. */
export function withOutcome(record: MemberRecord, job: JobRecord | undefined): MemberRecord {
  const { jobId, ...rest } = record;
  if (!job || jobId === undefined) return rest;
  const result = (job.result ?? {}) as CaptureOutcome;
  if (result.outcome === "parked" && result.continuedBy !== undefined) return { ...record, jobId: result.continuedBy };
  const outcome = job.state === "done" ? "done" : job.state === "cancelled" ? "cancelled" : "failed";
  const endedAt = job.endedAt ?? job.createdAt;
  const run: RunRecord = {
    jobId: job.id,
    startedAt: job.startedAt ?? job.createdAt,
    endedAt,
    outcome,
    ...figures(result),
    ...(job.error && { error: job.error.message }),
  };
  return {
    ...rest,
    failures: outcome === "failed" ? record.failures + 1 : 0,
    lastEndedAt: endedAt,
    ...(outcome === "done" && { lastSuccessAt: endedAt }),
    ...(outcome === "done" && isCheck(result.check) && { checkedAt: run.startedAt }),
    ...(outcome === "done" && run.readBytes !== undefined && run.changedBytes === undefined && { wholeBytes: run.readBytes }),
    runs: [...record.runs, run].slice(-keptRuns),
  };
}

/** The record after a capture that an admin asked for, beside the group's own: its point is as good as theirs. */
export function withPoint(record: MemberRecord, job: JobRecord): MemberRecord {
  const { jobId, failures } = record;
  return { ...withOutcome({ ...record, jobId: job.id }, job), failures, ...(jobId !== undefined && { jobId }) };
}

/** Where the last point could not be read there was nothing to compare with: that is still to be done. */
function isCheck(check: CaptureOutcome["check"]): check is NonNullable<CaptureOutcome["check"]> {
  return check !== undefined && check.length > 0;
}

/** Changed bytes are known only where every disk was read by its list of changes. */
function figures({ pointId, readBytes, storedBytes, frozenMs, check, disks = [] }: CaptureOutcome): Partial<RunRecord> {
  const tracked = disks.length > 0 && disks.every(({ mode }) => mode === "incremental");
  return {
    ...(pointId !== undefined && { pointId }),
    ...(readBytes !== undefined && { readBytes }),
    ...(storedBytes !== undefined && { storedBytes }),
    ...(frozenMs !== undefined && { frozenMs }),
    ...(isCheck(check) && { unexpectedBytes: check.reduce((sum, { unexpectedBytes = 0 }) => sum + unexpectedBytes, 0) }),
    ...(tracked && readBytes !== undefined && { changedBytes: readBytes }),
  };
}
