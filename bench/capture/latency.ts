import type { LabHost } from "@godwit/lab";
import { setTimeout as sleep } from "node:timers/promises";

/** Upper bounds of QEMU's bins, nanoseconds: from 50 µs on, each a tenth more than the one before, beyond 10 s. */
const bounds = Array.from({ length: 129 }, (_, at) => Math.round(50_000 * 1.1 ** at));

/** A disk of a guest, as its hypervisor sees it. */
export interface WatchedDisk {
  readonly host: LabHost;
  readonly guest: string;
  /** QEMU's name of the device. */
  readonly device: string;
}

export interface Writes {
  readonly count: number;
  /** The time within which 99 of 100 writes were done: the upper bound of the bin, milliseconds. NaN without writes. */
  readonly p99Ms: number;
}

interface Histogram {
  readonly bins: readonly number[];
}

async function ask<T>({ host, guest }: Pick<WatchedDisk, "host" | "guest">, execute: string, args?: object): Promise<T> {
  const command = JSON.stringify({ execute, ...(args && { arguments: args }) });
  const { stdout } = await host.virsh(["qemu-monitor-command", guest, command]);
  return (JSON.parse(stdout) as { return: T }).return;
}

interface BlockStats {
  readonly qdev?: string;
  readonly stats: { readonly wr_latency_histogram?: Histogram };
}

/** The disk that the guest's records go to: the first. */
export async function firstDisk(host: LabHost, guest: string): Promise<WatchedDisk> {
  const [first] = await ask<BlockStats[]>({ host, guest }, "query-blockstats");
  if (first?.qdev === undefined) throw new Error("QEMU does not name the guest's first disk");
  return { host, guest, device: first.qdev };
}

/** How long the guest's writes took while `body` ran, as QEMU counted them: with what copying before writing costs. */
export async function writesDuring<T>(disk: WatchedDisk, body: () => Promise<T>): Promise<{ readonly value: T; readonly writes: Writes }> {
  // Set again, it begins at zero.
  await ask(disk, "block-latency-histogram-set", { id: disk.device, "boundaries-write": bounds });
  const value = await body();
  const stats = await ask<BlockStats[]>(disk, "query-blockstats");
  const { bins } = stats.find(({ qdev }) => qdev === disk.device)?.stats.wr_latency_histogram ?? { bins: [] };
  return { value, writes: { count: bins.reduce((sum, one) => sum + one, 0), p99Ms: percentile(bins, 0.99) } };
}

function percentile(bins: readonly number[], share: number): number {
  const wanted = bins.reduce((sum, one) => sum + one, 0) * share;
  let seen = 0;
  for (const [at, count] of bins.entries()) {
    seen += count;
    if (count > 0 && seen >= wanted) return (bounds[at] ?? Infinity) / 1e6;
  }
  return Number.NaN;
}

/** The guest's writes while nobody reads it. */
export async function writesAtRest(disk: WatchedDisk, ms: number): Promise<Writes> {
  return (await writesDuring(disk, () => sleep(ms))).writes;
}
