import { z } from "zod";
import { Problem, Reason, Timestamp } from "./common.ts";

/** `done`, `failed` and `cancelled` are final. */
export const JobState = z.enum(["queued", "running", "cancelling", "done", "failed", "cancelled"]);

export const JobProgress = z.object({
  /** What is being done now, for people. */
  phase: z.string(),
  /** 0 to 1; absent while it cannot be known. */
  fraction: z.number().min(0).max(1).optional(),
  memoryTotalBytes: z.int().optional(),
  memoryRemainingBytes: z.int().optional(),
  diskTotalBytes: z.int().optional(),
  diskRemainingBytes: z.int().optional(),
  bytesPerSecond: z.int().optional(),
  dirtyBytesPerSecond: z.int().optional(),
  /** Expected seconds to the end. */
  remainingSeconds: z.number().optional(),
});
export type JobProgress = z.infer<typeof JobProgress>;

export const JobStep = z.object({
  name: z.string(),
  state: z.enum(["running", "done", "failed"]),
  startedAt: Timestamp,
  endedAt: Timestamp.optional(),
  /** What the step left for the next ones. */
  output: z.unknown().optional(),
});

export const JobLogLine = z.object({ at: Timestamp, level: z.enum(["info", "warn", "error"]), text: z.string() });

export const Job = z.object({
  id: z.string(),
  /** `vm.migrate`, `vm.start`, … */
  kind: z.string(),
  title: z.string(),
  subject: z.object({ type: z.string(), id: z.string(), name: z.string() }),
  state: JobState,
  createdAt: Timestamp,
  startedAt: Timestamp.optional(),
  endedAt: Timestamp.optional(),
  /** While queued: what it waits for and behind which jobs. */
  waitingFor: z.array(Reason),
  progress: JobProgress.optional(),
  steps: z.array(JobStep),
  /** Decisions taken on the way, in order. */
  reasons: z.array(Reason),
  log: z.array(JobLogLine),
  input: z.unknown(),
  result: z.unknown().optional(),
  error: Problem.optional(),
});
export type Job = z.infer<typeof Job>;

export const JobQuery = z.object({
  state: z.enum(["active", "ended", ...JobState.options]).optional(),
  kind: z.string().optional(),
  /** Only jobs about this thing (VM or host id). */
  subject: z.string().optional(),
});
