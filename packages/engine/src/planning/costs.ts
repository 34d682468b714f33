import type { JobRecord } from "../jobs/job.ts";
import type { MigrationResult } from "../migration/index.ts";
import type { SiteVm } from "../placement/model.ts";
import type { MoveCost } from "./schedule.ts";

/** Until a cluster has moved something: what starting a guest's process on the other host took elsewhere. */
const assumedOverheadMs = 1500;
/** Of a guest's memory; pages that were never used are not sent. */
const assumedShare = 0.7;

/**
 * Foretells moves from those that this cluster has made: of the same VM where there is one, else the median of
 * all of them. `jobs` are ended migrations, newest first; those that did not succeed tell nothing.
 */
export function costsFrom(jobs: readonly JobRecord[]): (vm: SiteVm, bytesPerSecond: number) => MoveCost {
  const results = jobs.flatMap(({ state, result }) => (state === "done" && isResult(result) ? [result] : []));
  const last = new Map(results.toReversed().map((result) => [result.vmId, result]));
  return (vm, bytesPerSecond) => {
    const fixed = (result: MigrationResult): number => Math.max(0, result.totalMs - (result.memoryBytes / bytesPerSecond) * 1000);
    const disks = vm.localDisks?.bytes ?? 0;
    const known = last.get(vm.id);
    if (known) return { overheadMs: fixed(known), bytes: known.memoryBytes + disks, dirtyBytesPerSecond: known.dirtyBytesPerSecond ?? 0 };
    return {
      overheadMs: median(results.map(fixed)) ?? assumedOverheadMs,
      bytes: vm.memoryBytes * assumedShare + disks,
      dirtyBytesPerSecond: 0,
    };
  };
}

function isResult(value: unknown): value is MigrationResult {
  return typeof value === "object" && value !== null && "totalMs" in value && "memoryBytes" in value && "vmId" in value;
}

function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
