import { JobParam, typedParams, type TypedParam } from "@godwit/libvirt";
import type { MoveProgress } from "../../../ports/migration.ts";

const measuredAfterMs = 2000;

/** Reads the statistics of a migration job (virDomainGetJobStats). Absent ones are 0 or undefined. */
export function moveProgress(params: readonly TypedParam[]): MoveProgress {
  const values = typedParams.decode(params);
  const number = (name: string): number | undefined => {
    const value = values[name];
    return typeof value === "bigint" || typeof value === "number" ? Number(value) : undefined;
  };
  const dirtyPages = number(JobParam.MEMORY_DIRTY_RATE);
  const page = number(JobParam.MEMORY_PAGE_SIZE) ?? 4096;
  // QEMU measures it over whole seconds of copying, and says 0 before (QEMU, migration/ram.c, migration_update_rates).
  const measured = dirtyPages !== undefined && (dirtyPages > 0 || (number(JobParam.TIME_ELAPSED) ?? 0) > measuredAfterMs);
  const rates = [number(JobParam.MEMORY_BPS), number(JobParam.DISK_BPS)].filter((rate) => rate !== undefined);
  return {
    memoryTotalBytes: number(JobParam.MEMORY_TOTAL) ?? 0,
    memoryProcessedBytes: number(JobParam.MEMORY_PROCESSED) ?? 0,
    memoryRemainingBytes: number(JobParam.MEMORY_REMAINING) ?? 0,
    diskTotalBytes: number(JobParam.DISK_TOTAL) ?? 0,
    diskProcessedBytes: number(JobParam.DISK_PROCESSED) ?? 0,
    diskRemainingBytes: number(JobParam.DISK_REMAINING) ?? 0,
    bytesPerSecond: rates.length > 0 ? rates.reduce((sum, rate) => sum + rate, 0) : undefined,
    dirtyBytesPerSecond: measured ? dirtyPages * page : undefined,
    rounds: number(JobParam.MEMORY_ITERATION),
    pauseMs: number(JobParam.DOWNTIME),
    throttlePercent: number(JobParam.AUTO_CONVERGE_THROTTLE),
  };
}

/** What a job does, for people: the names of libvirt's virDomainJobOperation. */
const operations = [
  "operation",
  "start",
  "save",
  "restore",
  "migration in",
  "migration out",
  "snapshot",
  "snapshot revert",
  "dump",
  "backup",
  "snapshot deletion",
];

export function operationName(params: readonly TypedParam[]): string {
  const operation = typedParams.decode(params)[JobParam.OPERATION];
  return operations[Number(operation ?? 0)] ?? "operation";
}
