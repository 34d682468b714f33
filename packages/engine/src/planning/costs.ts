import type { JobRecord } from "../jobs/job.ts";
import type { Forecast, MigrationResult } from "../migration/index.ts";
import type { SiteVm } from "../placement/model.ts";
import { type MoveCost, netOf } from "./schedule.ts";

/** Until a cluster has moved something: what starting a guest's process on the other host took elsewhere. */
const assumedOverheadMs = 1500;
/** Of a guest's memory; pages that were never used are not sent. */
const assumedShare = 0.7;

/**
 * Foretells moves from those that this cluster has made: of the same VM where there is one, else the median of
 * all of them. `jobs` are ended migrations, newest first; those that did not succeed at once tell nothing. Good enough
 * to begin a plan with: the preflight of each move foretells it better.
 */
export function costsFrom(jobs: readonly JobRecord[]): (vm: SiteVm, to: { readonly bytesPerSecond: number }) => MoveCost {
  const results = jobs.flatMap(({ state, result, attempt }) => (state === "done" && !(attempt > 1) && isResult(result) ? [result] : []));
  const last = new Map(results.toReversed().map((result) => [result.vmId, result]));
  return (vm, { bytesPerSecond }) => {
    const fixed = (result: MigrationResult): number => Math.max(0, result.totalMs - (result.memoryBytes / bytesPerSecond) * 1000);
    const disks = vm.localDisks?.bytes ?? 0;
    const known = last.get(vm.id);
    if (known) {
      const { memoryBytes, dirtyBytesPerSecond = 0 } = known;
      return { overheadMs: fixed(known), bytes: memoryBytes + disks, dirtyBytesPerSecond, bytesPerSecond };
    }
    return {
      overheadMs: median(results.map(fixed)) ?? assumedOverheadMs,
      bytes: vm.memoryBytes * assumedShare + disks,
      dirtyBytesPerSecond: 0,
      bytesPerSecond,
    };
  };
}

/** The same of a preflight's forecast, so that the move on its own takes just what was foretold. */
export function costOf({ totalMs, overheadMs = 0, dirtyBytesPerSecond = 0, bandwidthBytesPerSecond: bytesPerSecond }: Forecast): MoveCost {
  const bytes = (Math.max(0, totalMs - overheadMs) / 1000) * netOf(bytesPerSecond, dirtyBytesPerSecond);
  return { overheadMs, bytes, dirtyBytesPerSecond, bytesPerSecond };
}

function isResult(value: unknown): value is MigrationResult {
  return typeof value === "object" && value !== null && "totalMs" in value && "memoryBytes" in value && "vmId" in value;
}

/** The upper one of the two in the middle; undefined of none. */
export function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
