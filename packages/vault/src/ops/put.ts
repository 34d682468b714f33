import { anySignal, type BlockSource, type Extent } from "@godwit/core";
import { VaultError } from "../errors.ts";
import { hex } from "../format/names.ts";
import { objectName } from "../format/objects.ts";
import { type ConsistencyLevel, type Point, type PointDisk, type PointMachine, type PointOrigin, pointToJson } from "../format/point.ts";
import type { VaultParts } from "../parts.ts";
import { workerSetup } from "../parts.ts";
import { WorkPool } from "../work/pool.ts";
import { whyNoBase } from "./base.ts";
import { DiskWriter, type PutFigures } from "./disk-writer.ts";
import { WriteSession } from "./session.ts";

export interface PutDisk {
  readonly name: string;
  readonly source: BlockSource;
  readonly logicalSector?: number;
  readonly physicalSector?: number;
  /**
   * What may differ from the same disk of `base`: ordered, not overlapping, bytes. Nothing else is read.
   * Without it the whole disk is read.
   */
  readonly changed?: Iterable<Extent> | AsyncIterable<Extent>;
}

export interface PutRequest {
  /** The VM's name. */
  readonly name: string;
  readonly disks: readonly PutDisk[];
  /** The point that `changed` refers to; without `changed`, a hint that saves lookups. */
  readonly base?: Point;
  readonly consistency?: { readonly level: ConsistencyLevel; readonly evidence: readonly string[] };
  readonly machine?: PointMachine;
  /** Why this capture is what it is: why full, for instance. */
  readonly reasons?: readonly string[];
  /** RFC 3339, of a copy for instance; now where not given. */
  readonly time?: string;
  /** The point's id that the point is to name as its parent; that of `base` where not given. */
  readonly parent?: string;
  readonly origin?: PointOrigin;
}

export interface PutProgress extends PutFigures {
  readonly disk: string;
  /** How far into the disk, and of how much. */
  readonly offset: number;
  readonly size: number;
}

export interface PutOptions {
  readonly signal: AbortSignal;
  /** Called at most about ten times a second. */
  readonly onProgress?: (progress: PutProgress) => void;
  /** Called when all data is durable and before the point is listed: when it rejects, so does the put, and nothing is listed. */
  readonly beforeCommit?: () => Promise<void>;
  /** Whether somebody may be waiting for the disk that the vault is on, asked for each pack: see the stores' `PutOptions`. */
  readonly gently?: () => boolean;
}

/** What a put reads before it starts threads. */
const aloneBytes = 4 << 20;

/**
 * Stores a recovery point. It is listed only when everything it needs is durable; interrupted at any
 * moment, the next put of that name sends nothing again that a pack already holds.
 */
export async function put(parts: VaultParts, request: PutRequest, options: PutOptions): Promise<Point> {
  checkRequest(request);
  const failed = new AbortController();
  const signal = anySignal(options.signal, failed.signal);
  const session = new WriteSession(parts, signal, options);
  const onPack = session.takePack.bind(session);
  try {
    await using pool = new WorkPool(workerSetup(parts), { threads: parts.tuning.threads, aloneBytes, onPack });
    const { adoptedPacks } = await session.start(request.name);
    const marks = parts.index.condemned.marks.map(({ id }) => id);
    pool.begin(session.batch);
    const figures: PutFigures = { readBytes: 0, chunks: 0, newChunks: 0, adoptedPacks };
    const disks: PointDisk[] = [];
    const reasons = [...(request.reasons ?? [])];
    const noBase = request.base && (await whyNoBase(parts, request.base, signal));
    if (noBase !== undefined) reasons.push(`the disks were read in full: ${noBase}`);
    const base = noBase === undefined ? request.base : undefined;
    for (const disk of request.disks) {
      const writer = new DiskWriter({
        parts,
        session,
        pool,
        signal,
        figures,
        ...(options.onProgress ? { onProgress: options.onProgress } : {}),
      });
      const { stored, reason } = await writer.write(disk, base);
      disks.push(stored);
      if (reason && noBase === undefined) reasons.push(reason);
    }
    const flushed = pool.flush();
    await Promise.all([session.closeBatch(flushed), stopAfter(flushed, pool)]);
    await options.beforeCommit?.();
    return await writePoint(parts, session, { request, disks, reasons, figures, marks });
  } catch (error) {
    failed.abort(error);
    throw error;
  } finally {
    await session.settle();
  }
}

/** Threads end while the last packs become durable. */
async function stopAfter(flushed: Promise<void>, pool: WorkPool): Promise<void> {
  await flushed;
  await pool[Symbol.asyncDispose]();
}

function checkRequest({ name, disks }: PutRequest): void {
  if (name === "") throw new VaultError("invalid", "a recovery point needs the name of its VM");
  const names = new Set(disks.map((disk) => disk.name));
  if (names.size !== disks.length) throw new VaultError("invalid", "two disks of the recovery point have the same name");
}

interface Outcome {
  readonly request: PutRequest;
  readonly disks: readonly PointDisk[];
  readonly reasons: readonly string[];
  readonly figures: PutFigures;
  readonly marks: readonly string[];
}

async function writePoint(parts: VaultParts, session: WriteSession, outcome: Outcome): Promise<Point> {
  const { request, disks, reasons, figures, marks } = outcome;
  const { parent = request.base?.id, origin, time = new Date(parts.clock.now()).toISOString() } = request;
  const point: Point = {
    id: hex(session.point),
    name: request.name,
    time,
    grid: parts.keys.grid,
    consistency: request.consistency ?? { level: "crash", evidence: [] },
    disks,
    ...(parent === undefined ? {} : { parent }),
    reasons,
    figures: { ...figures, storedBytes: session.storedBytes, packs: session.packs },
    ...(request.machine ? { machine: request.machine } : {}),
    ...(origin ? { origin } : {}),
    ...(marks.length > 0 ? { marks } : {}),
  };
  await session.commit(parts.keys.sealJson("PONT", objectName.point(point.id), pointToJson(point), session.point));
  await session.end();
  return point;
}
