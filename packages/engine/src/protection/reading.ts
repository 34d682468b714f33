import type { BlockSource, Extent } from "@godwit/core";
import { type Point, prepareThreads, type PutDisk, type Vault } from "@godwit/vault";
import type { JobProgress } from "../jobs/job.ts";
import type { MachineState, Moment } from "../ports/backup.ts";
import type { Pace } from "./pace.ts";
import type { ChangeLists } from "./check.ts";
import { muchBytes, type Verdict } from "./plan.ts";

export interface Reading {
  /** The VM's name. */
  readonly name: string;
  readonly moment: Moment;
  readonly disks: OpenDisks;
  readonly base: Point | undefined;
  readonly verdict: Verdict;
  readonly reasons: readonly string[];
  readonly machine: MachineState;
  readonly pace: Pick<Pace, "take">;
  /** Read all of it, whatever is listed as changed. */
  readonly check: boolean;
}

export interface ReadingOptions {
  readonly signal: AbortSignal;
  readonly progress: (progress: JobProgress) => void;
  /** See `PutOptions`. */
  readonly beforeCommit: () => Promise<void>;
  readonly gently: () => boolean;
}

export interface Stored {
  readonly point: Point;
  /** By target: bytes that the host was asked for. */
  readonly readBytes: ReadonlyMap<string, number>;
  /** What the hypervisor listed, of a check. */
  readonly lists: ChangeLists;
}

/** A moment's exports, in its order; closed together. */
export interface OpenDisks extends AsyncDisposable {
  readonly sources: readonly BlockSource[];
}

/** Opens all of a moment's exports at once. */
export async function openDisks({ disks }: Moment, { signal }: { readonly signal: AbortSignal }): Promise<OpenDisks> {
  const opening = disks.map((disk) => disk.open({ signal }));
  const opened = await Promise.allSettled(opening);
  const sources = opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const close = async (): Promise<void> => {
    await Promise.all(sources.map((source) => source[Symbol.asyncDispose]()));
  };
  if (sources.length < disks.length) {
    await close();
    await Promise.all(opening);
  }
  return { sources, [Symbol.asyncDispose]: close };
}

/** Reads what a moment's exports hold into a vault. */
export async function readInto(vault: Vault, reading: Reading, options: ReadingOptions): Promise<Stored> {
  const { signal, progress, beforeCommit, gently } = options;
  const { moment, base, name, verdict, machine, reasons, pace, check } = reading;
  const counts = new Map<string, number>();
  const disks: PutDisk[] = [];
  const lists = new Map<string, readonly Extent[] | undefined>();
  for (const [at, disk] of moment.disks.entries()) {
    const source = reading.disks.sources[at]!;
    const changed = disk.changed?.(source, { signal });
    if (check) lists.set(disk.target, changed && (await Array.fromAsync(changed)));
    disks.push({
      name: disk.target,
      source: paced(source, disk.target, { pace, counts }),
      ...(changed && !check && { changed: announced(changed) }),
    });
  }
  const total = disks.reduce((sum, { source }) => sum + source.size, 0);
  const before = new Map(disks.map(({ name: disk }, at) => [disk, disks.slice(0, at).reduce((sum, { source }) => sum + source.size, 0)]));
  const point = await vault.put(
    { name, disks, time: moment.at, consistency: verdict, machine, reasons, ...(base && { base }) },
    {
      signal,
      beforeCommit,
      gently,
      onProgress: ({ disk, offset }) => {
        const done = (before.get(disk) ?? 0) + offset;
        progress({ phase: `reading ${disk}`, fraction: done / total, diskTotalBytes: total, diskRemainingBytes: total - done });
      },
    },
  );
  return { point, readBytes: counts, lists };
}

/** The same list; when it says that much will be read, threads are started before the first of it comes. */
async function* announced(changed: AsyncIterable<Extent>): AsyncGenerator<Extent> {
  let bytes = 0;
  for await (const extent of changed) {
    const before = bytes;
    if (extent.kind === "data") bytes += extent.length;
    if (before <= muchBytes && bytes > muchBytes) prepareThreads();
    yield extent;
  }
}

/** The same source, read no faster than allowed; what is read of it is counted. */
function paced(
  source: BlockSource,
  target: string,
  { pace, counts }: { readonly pace: Reading["pace"]; readonly counts: Map<string, number> },
): BlockSource {
  counts.set(target, 0);
  return {
    size: source.size,
    extents: (options) => source.extents(options),
    async read(offset, into, options) {
      await pace.take(into.length, options.signal);
      await source.read(offset, into, options);
      counts.set(target, (counts.get(target) ?? 0) + into.length);
    },
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  };
}
