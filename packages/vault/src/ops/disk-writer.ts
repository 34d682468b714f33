import { type BlockSource, describeError, type Extent } from "@godwit/core";
import { isDamage } from "../errors.ts";
import { FileImage } from "../file/image.ts";
import { hex, isZeroName, nameLength, sameName, zeroName } from "../format/names.ts";
import { fanOut, levelsFor } from "../format/node.ts";
import type { Point, PointDisk } from "../format/point.ts";
import type { VaultParts } from "../parts.ts";
import { TreeEditor } from "../tree/editor.ts";
import { childOf, type Tree, walkLeaves } from "../tree/nodes.ts";
import { MemoryPool } from "../work/memory.ts";
import type { HashedRun, WorkPool } from "../work/pool.ts";
import type { PutDisk, PutProgress } from "./put.ts";
import { type Run, runsOf } from "./runs.ts";
import type { WriteSession } from "./session.ts";

/** Counts of a whole put; they grow. */
export interface PutFigures {
  readBytes: number;
  /** Chunks read that are not zero. */
  chunks: number;
  /** Of these, the ones the vault did not have. */
  newChunks: number;
  /** Packs of an interrupted put that were taken over. */
  adoptedPacks: number;
}

export interface DiskWriterOptions {
  readonly parts: VaultParts;
  readonly session: WriteSession;
  readonly pool: WorkPool;
  readonly signal: AbortSignal;
  readonly figures: PutFigures;
  readonly onProgress?: (progress: PutProgress) => void;
}

const runBytes = 1 << 20;
const runsPerThread = 4;
const progressEvery = 100;

type AnyExtents = Iterable<Extent> | AsyncIterable<Extent>;

/** A run that was given to the threads. */
interface Handed {
  readonly run: Run;
  readonly names: Promise<Uint8Array>;
}

export function treeOf(disk: PointDisk, grid: number): Tree {
  return { root: Buffer.from(disk.root, "hex"), levels: disk.levels, chunks: Math.ceil(disk.size / grid) };
}

/** Stores one disk of a put. Some runs are in the hands of threads; results enter the tree in order. */
export class DiskWriter {
  readonly #options: DiskWriterOptions;
  readonly #memory: MemoryPool;
  readonly #runBytes: number;
  #reported = 0;

  constructor(options: DiskWriterOptions) {
    this.#options = options;
    this.#runBytes = Math.max(runBytes, options.parts.keys.grid);
    this.#memory = new MemoryPool(this.#runBytes);
  }

  async write(disk: PutDisk, base: Point | undefined): Promise<{ readonly stored: PointDisk; readonly reason: string | undefined }> {
    const { grid } = this.#options.parts.keys;
    const before = base?.grid === grid ? base.disks.find((one) => one.name === disk.name) : undefined;
    if (disk.changed === undefined) return { stored: await this.#full(disk, before), reason: undefined };
    if (before?.size !== disk.source.size) return { stored: await this.#full(disk, before), reason: whyFull(disk.name, before, base) };
    try {
      return { stored: await this.#build(disk, disk.changed, Buffer.from(before.root, "hex"), undefined), reason: undefined };
    } catch (error) {
      if (!isDamage(error)) throw error;
      const reason = `${disk.name} was read in full: what the base is made of is damaged (${describeError(error)})`;
      return { stored: await this.#full(disk, undefined), reason };
    }
  }

  async #full(disk: PutDisk, before: PointDisk | undefined): Promise<PointDisk> {
    const { parts, signal } = this.#options;
    const { grid } = parts.keys;
    const sameShape = before?.levels === levelsFor(Math.ceil(disk.source.size / grid));
    // While damage is known nothing is taken for granted, so that the damaged chunks are stored anew.
    const hints = before && sameShape && !parts.index.hurt.any ? treeOf(before, grid) : undefined;
    return await this.#build(disk, disk.source.extents({ signal }), zeroName, hints);
  }

  async #build(disk: PutDisk, extents: AnyExtents, root: Uint8Array, hints: Tree | undefined): Promise<PointDisk> {
    const { parts, session } = this.#options;
    const { grid } = parts.keys;
    const { name, source, logicalSector = 512, physicalSector = 4096 } = disk;
    const { size } = source;
    const levels = levelsFor(Math.ceil(size / grid));
    const editor = new TreeEditor({ nodes: parts.nodes, namer: session.namer, levels, root, emit: session.emitNode });
    await this.#copy(disk, runsOf(extents, { size, grid, runBytes: this.#runBytes }), editor, new BaseNames(parts, hints));
    return { name, size, logicalSector, physicalSector, levels, root: hex(await editor.finish()) };
  }

  async #copy(disk: PutDisk, runs: AsyncIterable<Run>, editor: TreeEditor, hints: BaseNames): Promise<void> {
    const { parts, session, pool, signal } = this.#options;
    const { grid } = parts.keys;
    const pending: Handed[] = [];
    const settle = async (): Promise<void> => {
      const { run, names } = pending.shift()!;
      await editor.set(run.offset / grid, await names, signal);
      this.#progress(disk, run.offset + run.length);
    };
    for await (const run of runs) {
      signal.throwIfAborted();
      if (run.kind === "zero") {
        while (pending.length > 0) await settle();
        await editor.zero(run.offset / grid, Math.ceil((run.offset + run.length) / grid), signal);
        continue;
      }
      while (pending.length >= pool.threads * runsPerThread) await settle();
      if (session.full) {
        while (pending.length > 0) await settle();
        await session.closeBatch(pool.flush());
        pool.begin(session.batch);
      }
      await session.room();
      const base = await hints.of(run.offset / grid, Math.ceil(run.length / grid), signal);
      const names = this.#hand(disk.source, run, base);
      names.catch(() => undefined);
      pending.push({ run, names });
    }
    while (pending.length > 0) await settle();
  }

  /** Reads a run, has it named, and what is new of it stored; its names. */
  async #hand(source: BlockSource, run: Run, base: Uint8Array | undefined): Promise<Uint8Array> {
    const { figures } = this.#options;
    const memory = this.#memory.take();
    const hashed = await this.#hash(source, run, memory, base);
    figures.readBytes += run.length;
    for (let at = 0; at < hashed.names.length; at += nameLength) if (!isZeroName(hashed.names, at)) figures.chunks += 1;
    if (hashed.kept) await hashed.store(await this.#decide(hashed.names, base));
    this.#memory.give(memory);
    return hashed.names;
  }

  /** A thread reads what is a file by itself, and hashes it from its core's cache; what it cannot read is read here, which says why. */
  async #hash(source: BlockSource, { offset, length }: Run, memory: SharedArrayBuffer, base: Uint8Array | undefined): Promise<HashedRun> {
    const { pool, signal } = this.#options;
    if (source instanceof FileImage) {
      try {
        return await pool.hash(memory, length, { base, from: { fd: source.descriptor, offset }, keep: true });
      } catch (error) {
        if (signal.aborted || (error as NodeJS.ErrnoException).code === undefined) throw error;
      }
    }
    await source.read(offset, new Uint8Array(memory, 0, length), { signal });
    return await pool.hash(memory, length, { base, keep: true });
  }

  /** Which chunks of a run are to be stored: those that neither the base, this put nor the vault has. */
  async #decide(names: Uint8Array, base: Uint8Array | undefined): Promise<Uint8Array> {
    const { session, figures, parts } = this.#options;
    const { index } = parts;
    const wanted = new Uint8Array(names.length / nameLength);
    for (let i = 0; i < wanted.length; i += 1) {
      const at = i * nameLength;
      if (isZeroName(names, at) || (base && sameName(names, at, base, at)) || session.claims.find(names, at) >= 0) continue;
      const name = names.subarray(at, at + nameLength);
      // Mostly nothing has to be read to know, and then nothing is waited for.
      if (session.hasNearby(name) || (!index.surelyNew(name) && (await session.has(name)))) continue;
      if (session.claims.add(names, at).added) wanted[i] = 1;
    }
    figures.newChunks += wanted.reduce((sum, flag) => sum + flag, 0);
    return wanted;
  }

  #progress(disk: PutDisk, offset: number): void {
    const { onProgress, figures, parts } = this.#options;
    const now = parts.clock.monotonic();
    if (!onProgress || (now - this.#reported < progressEvery && offset < disk.source.size)) return;
    this.#reported = now;
    onProgress({ ...figures, disk: disk.name, offset, size: disk.source.size });
  }
}

function whyFull(name: string, before: PointDisk | undefined, base: Point | undefined): string {
  if (!base) return `${name} was read in full: there is no base to which the list of changes refers`;
  if (!before) return `${name} was read in full: the base has no such disk on this grid`;
  return `${name} was read in full: its size changed from ${before.size} bytes`;
}

/** What a base has at a place: walks its leaves along with the put. */
class BaseNames {
  readonly #parts: VaultParts;
  readonly #tree: Tree | undefined;
  #leaf = -1;
  #names: Uint8Array | undefined;

  constructor(parts: VaultParts, tree: Tree | undefined) {
    this.#parts = parts;
    this.#tree = tree;
  }

  /** The names of `count` chunks from number `first` on; undefined where there is no base. */
  async of(first: number, count: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    if (!this.#tree) return undefined;
    const names = new Uint8Array(count * nameLength);
    for (let i = 0; i < count; i += 1) {
      const leaf = Math.floor((first + i) / fanOut);
      if (leaf !== this.#leaf) await this.#load(leaf, signal);
      if (this.#names) names.set(childOf(this.#names, first + i), i * nameLength);
    }
    return names;
  }

  async #load(leaf: number, signal: AbortSignal): Promise<void> {
    this.#leaf = leaf;
    this.#names = undefined;
    const range = { from: leaf * fanOut, to: leaf * fanOut + 1 };
    try {
      for await (const { names } of walkLeaves(this.#parts.nodes, this.#tree!, range, signal)) this.#names = names;
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
  }
}
