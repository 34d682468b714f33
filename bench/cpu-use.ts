/** Where a machine's processors spent their time: what binds a measurement that waits for them. */
import { readdir, readFile } from "node:fs/promises";

/** Linux counts in hundredths of a second. */
const tickMs = 10;

export interface CpuSample {
  readonly atMs: number;
  readonly busyMs: number;
  /** By name of the process; what its ended children took counts under `(name's children)`. */
  readonly byName: ReadonlyMap<string, number>;
}

export async function sampleCpu(): Promise<CpuSample> {
  const [line = ""] = (await readFile("/proc/stat", "utf8")).split("\n");
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.trim().split(/\s+/).slice(1).map(Number);
  const byName = new Map<string, number>();
  const add = (name: string, ticks: number): void => void byName.set(name, (byName.get(name) ?? 0) + ticks * tickMs);
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ""); // it may just have ended
    const name = /\((.*)\)/.exec(stat)?.[1];
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (name === undefined) continue;
    add(name, Number(fields[11]) + Number(fields[12]));
    add(`(${name}'s children)`, Number(fields[13]) + Number(fields[14]));
  }
  return { atMs: performance.now(), busyMs: (user + nice + system + irq + softirq) * tickMs, byName };
}

/** One line: how busy the processors were between two samples, and who took most. */
export function cpuUse(before: CpuSample, after: CpuSample, cpus: number): string {
  const wallMs = after.atMs - before.atMs;
  const busyMs = after.busyMs - before.busyMs;
  const most = [...after.byName]
    .map(([name, ms]) => [name, ms - (before.byName.get(name) ?? 0)] as const)
    .filter(([, ms]) => ms >= 50)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 10);
  const share = ((busyMs / (wallMs * cpus)) * 100).toFixed(0);
  return `${cpus} CPUs busy for ${share} % of ${wallMs.toFixed(0)} ms (${busyMs} ms): ${most.map(([name, ms]) => `${name} ${ms}`).join(", ")}`;
}
