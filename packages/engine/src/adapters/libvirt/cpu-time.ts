import type { Connection } from "@godwit/libvirt";
import { orElse } from "./errors.ts";

const allCpus = -1;
/** Readings that are nearer to each other tell a moment, not a load; milliseconds. */
const leastMs = 5_000;

interface Reading {
  readonly at: number;
  /** Nanoseconds of all CPUs together. */
  readonly total: number;
  readonly idle: number;
}

/** How busy a host's CPUs were since they were looked at before, 0 to 1. */
export class CpuTime {
  #before: Reading | undefined;
  #busy: number | undefined;

  /** Undefined the first time, and where the host does not tell. */
  async busy(connection: Connection, signal: AbortSignal): Promise<number | undefined> {
    const now = await read(connection, signal);
    const before = this.#before;
    if (!now || (before && now.at - before.at < leastMs)) return this.#busy;
    this.#before = now;
    const total = before ? now.total - before.total : 0;
    if (before && total > 0) this.#busy = Math.min(1, Math.max(0, 1 - (now.idle - before.idle) / total));
    return this.#busy;
  }
}

async function read({ remote }: Connection, signal: AbortSignal): Promise<Reading | undefined> {
  const size = await orElse(remote.nodeGetCpuStats({ cpuNum: allCpus, nparams: 0, flags: 0 }, { signal }), undefined);
  if (!size || size.nparams === 0) return undefined;
  const stats = await orElse(remote.nodeGetCpuStats({ cpuNum: allCpus, nparams: size.nparams, flags: 0 }, { signal }), undefined);
  if (!stats || stats.params.length === 0) return undefined;
  const values = new Map(stats.params.map(({ field, value }) => [field, Number(value)]));
  const idle = (values.get("idle") ?? 0) + (values.get("iowait") ?? 0);
  const used = ["kernel", "user", "intr"].reduce((sum, field) => sum + (values.get(field) ?? 0), 0);
  return { at: performance.now(), total: idle + used, idle };
}
