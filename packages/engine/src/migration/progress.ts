import type { JobProgress } from "../jobs/job.ts";
import type { MoveProgress } from "../ports/migration.ts";

/**
 * Turns the hypervisor's figures into a job's progress. The fraction never goes back, although memory that
 * the guest dirties again makes the remaining bytes grow.
 */
export function jobProgress(network: string): (progress: MoveProgress) => JobProgress {
  let highest = 0;
  return (progress) => {
    const total = progress.memoryTotalBytes + progress.diskTotalBytes;
    const remaining = progress.memoryRemainingBytes + progress.diskRemainingBytes;
    if (total > 0) highest = Math.max(highest, Math.min(1, 1 - remaining / total));
    const copying = progress.diskRemainingBytes > 0 && progress.memoryProcessedBytes === 0;
    const net = (progress.bytesPerSecond ?? 0) - (progress.dirtyBytesPerSecond ?? 0);
    const round = progress.rounds === undefined || progress.rounds === 0 ? "" : `, round ${progress.rounds}`;
    const throttle = progress.throttlePercent ? `, guest slowed by ${progress.throttlePercent} %` : "";
    return {
      phase: `${copying ? "copying disks" : "copying memory"} over ${network}${round}${throttle}`,
      fraction: highest,
      memoryTotalBytes: progress.memoryTotalBytes,
      memoryRemainingBytes: progress.memoryRemainingBytes,
      ...(progress.diskTotalBytes > 0 && { diskTotalBytes: progress.diskTotalBytes, diskRemainingBytes: progress.diskRemainingBytes }),
      bytesPerSecond: progress.bytesPerSecond,
      dirtyBytesPerSecond: progress.dirtyBytesPerSecond,
      remainingSeconds: net > 0 ? remaining / net : undefined,
    };
  };
}
