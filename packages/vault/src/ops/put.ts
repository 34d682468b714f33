import { randomBytes } from "node:crypto";
import { anySignal, type BlockSource, type Extent } from "@godwit/core";
import { VaultError } from "../errors.ts";
import { hex } from "../format/names.ts";
import { objectName } from "../format/objects.ts";
import { type ConsistencyLevel, type Point, type PointDisk, type PointMachine, pointToJson } from "../format/point.ts";
import type { VaultParts } from "../parts.ts";
import { workerSetup } from "../parts.ts";
import { WorkPool } from "../work/pool.ts";
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
}

/**
 * Stores a recovery point. It is listed only when everything it needs is durable; interrupted at any
 * moment, the next put of that name sends nothing again that a pack already holds.
 */
export async function put(parts: VaultParts, request: PutRequest, options: PutOptions): Promise<Point> {
  checkRequest(request);
  const failed = new AbortController();
  const signal = anySignal(options.signal, failed.signal);
  const session = new WriteSession(parts, signal);
  const onPack = session.takePack.bind(session);
  try {
    await using pool = new WorkPool(workerSetup(parts), { threads: parts.tuning.threads, onPack });
    await parts.index.refresh(signal);
    const { adoptedPacks } = await session.start(request.name);
    pool.begin(session.batch);
    const figures: PutFigures = { readBytes: 0, chunks: 0, newChunks: 0, adoptedPacks };
    const disks: PointDisk[] = [];
    const reasons = [...(request.reasons ?? [])];
    for (const disk of request.disks) {
      const writer = new DiskWriter({
        parts,
        session,
        pool,
        signal,
        figures,
        ...(options.onProgress ? { onProgress: options.onProgress } : {}),
      });
      const { stored, reason } = await writer.write(disk, request.base);
      disks.push(stored);
      if (reason) reasons.push(reason);
    }
    await pool.flush();
    await session.closeBatch();
    return await writePoint(parts, session, { request, disks, reasons, figures }, signal);
  } catch (error) {
    failed.abort(error);
    throw error;
  } finally {
    await session.settle();
  }
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
}

async function writePoint(parts: VaultParts, session: WriteSession, outcome: Outcome, signal: AbortSignal): Promise<Point> {
  const { request, disks, reasons, figures } = outcome;
  const salt = randomBytes(16);
  const point: Point = {
    id: hex(salt),
    name: request.name,
    time: new Date(parts.clock.now()).toISOString(),
    grid: parts.keys.grid,
    consistency: request.consistency ?? { level: "crash", evidence: [] },
    disks,
    ...(request.base ? { parent: request.base.id } : {}),
    reasons,
    figures: { ...figures, storedBytes: session.storedBytes, packs: session.packs },
    ...(request.machine ? { machine: request.machine } : {}),
  };
  const name = objectName.point(point.id);
  await parts.store.put(name, [parts.keys.sealJson("PONT", name, pointToJson(point), salt)], { signal });
  await session.end();
  return point;
}
