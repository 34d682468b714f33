import { type BlockSource, describeError, type Extent, isCancelled } from "@godwit/core";
import type { Point, PointDisk } from "../format/point.ts";
import type { Vault } from "../vault.ts";
import type { PutDisk, PutProgress } from "./put.ts";

export interface CopyOptions {
  readonly signal: AbortSignal;
  /** Points of the source; all of them unless given. */
  readonly points?: readonly Point[];
  readonly onProgress?: (progress: CopyProgress) => void;
}

export interface CopyProgress extends PutProgress {
  /** The id of the point in the source. */
  readonly point: string;
  /** Points done, and of how many. */
  readonly done: number;
  readonly of: number;
}

export interface CopyResult {
  /** Ids of the points in the source and in the destination. */
  readonly copied: readonly { readonly from: string; readonly to: string }[];
  /** Ids of points in the source that the destination had already. */
  readonly present: readonly string[];
  /** Points that could not be read whole; the others were copied all the same. */
  readonly failed: readonly { readonly id: string; readonly why: string }[];
  /** What was added to the destination, as stored. */
  readonly storedBytes: number;
}

/**
 * Copies recovery points into another vault, whatever its keys and grid, oldest first. A point of which the
 * destination has a relative costs what differs from that; chunks that the destination has are not sent. Time,
 * consistency, reasons and machine stay, and the copy names its origin. Run again after an interruption, it goes on.
 */
export async function copyPoints(from: Vault, to: Vault, options: CopyOptions): Promise<CopyResult> {
  const { signal } = options;
  const sources = (await from.points({ signal })).points;
  const wanted = options.points ?? sources;
  const copies = await copiesOf(from, to, signal);
  const copied: { from: string; to: string }[] = [];
  const present: string[] = [];
  const failed: { id: string; why: string }[] = [];
  let storedBytes = 0;
  for (const [done, point] of wanted.entries()) {
    if (idsOf(point).some((id) => copies.has(id))) {
      present.push(point.id);
      continue;
    }
    try {
      const relative = nearest(point, sources, copies);
      const report = (progress: PutProgress): void => options.onProgress?.({ ...progress, point: point.id, done, of: wanted.length });
      const copy = await copyPoint({ from, to, copies }, point, relative, { signal, onProgress: report });
      copies.set(point.id, copy);
      copied.push({ from: point.id, to: copy.id });
      storedBytes += copy.figures["storedBytes"] ?? 0;
    } catch (error) {
      if (isCancelled(error) || signal.aborted || !isSourceDamage(error)) throw error;
      failed.push({ id: point.id, why: describeError(error) });
    }
  }
  return { copied, present, failed, storedBytes };
}

/** What the destination has of the source, by the ids that the points have or had there. */
async function copiesOf(from: Vault, to: Vault, signal: AbortSignal): Promise<Map<string, Point>> {
  const { points } = await to.points({ signal });
  return new Map(points.flatMap((point) => (point.origin?.vault === from.id ? [[point.origin.point, point] as const] : [])));
}

const idsOf = ({ id, formerly = [] }: Point): string[] => [id, ...formerly];

interface Relative {
  /** In the source. */
  readonly point: Point;
  /** In the destination. */
  readonly copy: Point;
}

/** The point of the same VM, still in the source and already in the destination, that is nearest in time; an earlier one first. */
function nearest(point: Point, sources: readonly Point[], copies: ReadonlyMap<string, Point>): Relative | undefined {
  const relatives = sources.flatMap((one) => {
    const copy = idsOf(one)
      .map((id) => copies.get(id))
      .find((known) => known !== undefined);
    return one.name === point.name && copy ? [{ point: one, copy }] : [];
  });
  return relatives.findLast((relative) => relative.point.time <= point.time) ?? relatives[0];
}

interface Route {
  readonly from: Vault;
  readonly to: Vault;
  readonly copies: ReadonlyMap<string, Point>;
}

async function copyPoint(
  { from, to, copies }: Route,
  point: Point,
  relative: Relative | undefined,
  options: { readonly signal: AbortSignal; readonly onProgress: (progress: PutProgress) => void },
): Promise<Point> {
  const { signal } = options;
  await using open = new AsyncDisposableStack();
  const disks: PutDisk[] = [];
  for (const disk of point.disks) {
    const source: BlockSource = open.use(await from.openDisk(point, disk.name, { signal }));
    const { logicalSector, physicalSector, name } = disk;
    const changed = changesOf(from, point, disk, relative, signal);
    disks.push({ name, source, logicalSector, physicalSector, ...(changed ? { changed } : {}) });
  }
  const parent = point.parent === undefined ? undefined : copies.get(point.parent)?.id;
  return await to.put(
    {
      name: point.name,
      disks,
      consistency: point.consistency,
      reasons: point.reasons,
      time: point.time,
      origin: { vault: from.id, point: point.id },
      ...(parent === undefined ? {} : { parent }),
      ...(relative ? { base: relative.copy } : {}),
      ...(point.machine ? { machine: point.machine } : {}),
    },
    options,
  );
}

/** Where the disk differs from its relative; undefined when all of it has to be looked at. */
function changesOf(
  from: Vault,
  point: Point,
  disk: PointDisk,
  relative: Relative | undefined,
  signal: AbortSignal,
): AsyncGenerator<Extent> | undefined {
  const before = relative?.point.disks.find(({ name }) => name === disk.name);
  if (!relative || before?.size !== disk.size) return undefined;
  return from.diff(relative.point, point, disk.name, { signal });
}

/** True when a point of the source cannot be read whole. */
function isSourceDamage(error: unknown): boolean {
  return error instanceof Error && "kind" in error && (error.kind === "corrupt" || error.kind === "missing");
}
