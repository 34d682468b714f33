import { type Clock, describeError } from "@godwit/core";
import type { Log } from "../inventory/log.ts";
import type { JobRecord } from "../jobs/job.ts";
import type { PlacementSettings } from "../placement/rules.ts";
import type { ChildJobs } from "./drains.ts";

export interface BalanceScheduleOptions {
  readonly settings: () => Promise<PlacementSettings>;
  readonly jobs: () => Pick<ChildJobs, "list"> & {
    submit(kind: string, input: JobRecord["input"]): Promise<JobRecord>;
  };
  readonly clock: Clock;
  readonly log: Log;
}

const lookMs = 60_000;

/**
 * Starts a balance whenever one is due, until `signal` fires; then resolves. The jobs themselves are the memory of
 * when the last one was, so a restart neither forgets nor hurries it. A first one comes a whole interval after the
 * start.
 */
export async function runBalanceSchedule(options: BalanceScheduleOptions, signal: AbortSignal): Promise<void> {
  const { clock, log } = options;
  const startedAt = clock.now();
  for (;;) {
    try {
      await clock.sleep(lookMs, { signal });
      await startIfDue(options, startedAt);
    } catch (error) {
      if (signal.aborted) return;
      log.warn({}, `balancing by schedule failed: ${describeError(error)}`);
    }
  }
}

async function startIfDue({ settings, jobs, clock }: BalanceScheduleOptions, startedAt: number): Promise<void> {
  const { balance } = await settings();
  if (!balance) return;
  const [last] = await jobs().list({ kind: "cluster.balance" }, { limit: 1 });
  if (last && last.endedAt === undefined) return;
  const since = Math.max(startedAt, last ? Date.parse(last.createdAt) : 0);
  if (clock.now() - since < balance.everyMinutes * 60_000) return;
  await jobs().submit("cluster.balance", { actAbove: balance.abovePercent / 100 });
}
