import { anySignal, type BlockSink, type BlockSource, type Extent } from "@godwit/core";
import { isDamage, VaultError } from "../errors.ts";
import { FileImage } from "../file/image.ts";
import { isZeroName, nameLength, sameName } from "../format/names.ts";
import { fanOut } from "../format/node.ts";
import type { RecordPlace } from "../format/objects.ts";
import type { Point, PointDisk } from "../format/point.ts";
import { type VaultParts, workerSetup } from "../parts.ts";
import { type Leaf, walkLeaves } from "../tree/nodes.ts";
import { MemoryPool } from "../work/memory.ts";
import { WorkPool } from "../work/pool.ts";
import { ahead } from "./ahead.ts";
import { treeOf } from "./disk-writer.ts";
import { Delivery, type Requested, type Wanted } from "./delivery.ts";
import { fetchElsewhere } from "./fetch.ts";
import { DataPlaces } from "./present.ts";

export interface RestoreProgress {
  /** How far into the disk, and of how much. */
  readonly offset: number;
  readonly size: number;
  /** Written so far. */
  readonly writtenBytes: number;
}

export interface RestoreOptions {
  readonly signal: AbortSignal;
  /**
   * What the target holds now: only what differs is fetched and written. Also how an interrupted restore
   * goes on.
   */
  readonly present?: BlockSource;
  /** The target reads as zeros where nothing is written: a new sparse file. */
  readonly blank?: boolean;
  /** Go on past damaged chunks, leave the target there as it is, and report them. */
  readonly salvage?: boolean;
  readonly onProgress?: (progress: RestoreProgress) => void;
}

export interface RestoreResult {
  readonly writtenBytes: number;
  /** Chunks that the target already held. */
  readonly keptBytes: number;
  /** With `salvage`: what could not be restored. */
  readonly damaged: readonly Extent[];
}

const tasksPerThread = 6;
/** What is compared at once, by threads that read the target themselves and where it comes from here. */
const fileCompareBytes = 4 << 20;
const compareBytes = 1 << 20;
/** How far ahead of the writing it is found out where chunks are. */
const planBytes = 64 << 20;

/**
 * Writes a disk of a recovery point to `target`, in disk order but for what is in flight, each chunk
 * checked by its seal. Resolves when everything is durable. Throws `corrupt` or `missing` for damage.
 */
export async function restoreDisk(
  parts: VaultParts,
  from: { readonly point: Point; readonly disk: PointDisk },
  target: BlockSink,
  options: RestoreOptions,
): Promise<RestoreResult> {
  const { point, disk } = from;
  if (target.size < disk.size) {
    throw new VaultError("invalid", `the target has ${target.size} bytes, disk ${disk.name} needs ${disk.size}`);
  }
  const failed = new AbortController();
  const signal = anySignal(options.signal, failed.signal);
  await using pool = new WorkPool({ ...workerSetup(parts), grid: point.grid }, { threads: parts.tuning.threads });
  const work = new Restore(parts, pool, target, { ...options, signal, disk, grid: point.grid });
  try {
    const leaves = walkLeaves(parts.nodes, treeOf(disk, point.grid), { from: 0, to: Infinity }, signal);
    const depth = Math.min(64, Math.max(4, planBytes / (fanOut * point.grid)));
    for await (const planned of ahead(leaves, depth, (leaf) => work.plan(leaf))) await work.leaf(planned);
    await work.finish();
  } catch (error) {
    failed.abort(error);
    await work.settle();
    throw error;
  }
  return work.result;
}

/** A leaf, and the records that hold its chunks, where they are known beforehand. */
interface PlannedLeaf extends Leaf {
  readonly records: readonly Requested[];
}

class Restore {
  readonly #parts: VaultParts;
  readonly #pool: WorkPool;
  readonly #target: BlockSink;
  readonly #options: RestoreOptions & { readonly disk: PointDisk; readonly grid: number };
  readonly #inFlight = new Set<Promise<void>>();
  readonly #damaged: Extent[] = [];
  readonly #limit: number;
  readonly #delivery: Delivery;
  readonly #memory = new MemoryPool(compareBytes);
  /** Where the target holds data: only there must zeros be written. */
  readonly #places: DataPlaces | undefined;
  /** First chunk that nothing has been decided about. */
  #next = 0;
  #written = 0;
  #kept = 0;
  #failure: { error: unknown } | undefined;
  #reported = 0;

  constructor(parts: VaultParts, pool: WorkPool, target: BlockSink, options: RestoreOptions & { disk: PointDisk; grid: number }) {
    this.#parts = parts;
    this.#pool = pool;
    this.#target = target;
    this.#options = options;
    this.#delivery = new Delivery(parts, pool, target, options);
    this.#limit = options.present ? pool.threads * tasksPerThread : this.#delivery.width;
    this.#places = options.present && new DataPlaces(options.present, options.signal);
  }

  get result(): RestoreResult {
    return { writtenBytes: this.#written, keptBytes: this.#kept, damaged: this.#damaged.toSorted((a, b) => a.offset - b.offset) };
  }

  /** Finds out where a leaf's chunks are, unless the target may hold them already. */
  async plan(leaf: Leaf): Promise<PlannedLeaf> {
    const records = this.#options.present ? [] : await this.#byRecord(leaf.first, leaf.names, this.#end(leaf) - leaf.first);
    return { ...leaf, records };
  }

  #end({ first }: Leaf): number {
    return Math.min(first + fanOut, Math.ceil(this.#options.disk.size / this.#options.grid));
  }

  async leaf({ first, names, records }: PlannedLeaf): Promise<void> {
    await this.#zero(this.#next, first);
    const last = this.#end({ first, names });
    this.#next = last;
    const piece = this.#options.present instanceof FileImage ? fileCompareBytes : compareBytes;
    const pieceChunks = Math.max(1, Math.min(last - first, Math.floor(piece / this.#options.grid)));
    if (!this.#options.present) return await this.#take({ first, names, records }, last - first);
    for (let at = first; at < last; at += pieceChunks) {
      const count = Math.min(pieceChunks, last - at);
      await this.#start(this.#compare(at, names.subarray((at - first) * nameLength, (at - first + count) * nameLength)));
    }
  }

  async finish(): Promise<void> {
    await this.#zero(this.#next, Math.ceil(this.#options.disk.size / this.#options.grid));
    while (this.#inFlight.size > 0) await Promise.race(this.#inFlight);
    if (this.#failure) throw this.#failure.error;
    await this.settle();
    await this.#target.flush({ signal: this.#options.signal });
    this.#progress(true);
  }

  async settle(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.allSettled(this.#inFlight);
    await this.#places?.[Symbol.asyncDispose]();
  }

  /** Reads what the target holds there, and fetches what differs. */
  async #compare(first: number, names: Uint8Array): Promise<void> {
    const { grid, disk } = this.#options;
    const count = names.length / nameLength;
    const differs = await this.#differences(first * grid, Math.min(count * grid, disk.size - first * grid), names);
    const differing = Uint8Array.from(names);
    let kept = 0;
    for (let i = 0; i < count; i += 1) {
      const at = i * nameLength;
      if (differs[i] === 0) {
        differing.fill(0, at, at + nameLength);
        kept += 1;
      } else if (isZeroName(names, at)) {
        await this.#writeZeroes(first + i, first + i + 1);
      }
    }
    this.#kept += kept * grid;
    const records = await this.#byRecord(first, differing, count);
    await allOf(this.#delivery.batches(records).map((batch) => this.#deliver(batch)));
  }

  /** Flags the chunks of a part of the target that do not have these names. */
  async #differences(offset: number, length: number, names: Uint8Array): Promise<Uint8Array> {
    const { present, signal } = this.#options;
    if (present instanceof FileImage) return await this.#pool.compare(present.descriptor, offset, length, Uint8Array.from(names));
    const memory = this.#memory.take(length);
    await present!.read(offset, new Uint8Array(memory, 0, length), { signal });
    const held = await this.#pool.hash(memory, length, { keep: false });
    this.#memory.give(memory);
    return Uint8Array.from({ length: names.length / nameLength }, (_, i) =>
      sameName(held.names, i * nameLength, names, i * nameLength) ? 0 : 1,
    );
  }

  /** Everything of a leaf: a task for each record, a hole for each run of zeros. */
  async #take({ first, names, records }: PlannedLeaf, count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) {
      if (!isZeroName(names, i * nameLength)) continue;
      const from = i;
      while (i + 1 < count && isZeroName(names, (i + 1) * nameLength)) i += 1;
      await this.#zero(first + from, first + i + 1);
    }
    for (const batch of this.#delivery.batches(records)) await this.#start(this.#deliver(batch));
  }

  async #byRecord(first: number, names: Uint8Array, count: number): Promise<Requested[]> {
    const { signal, disk } = this.#options;
    const groups = new Map<string, [RecordPlace, Wanted[]]>();
    for (let i = 0; i < count; i += 1) {
      const at = i * nameLength;
      if (isZeroName(names, at)) continue;
      const name = names.subarray(at, at + nameLength);
      const wanted: Wanted = { chunk: first + i, name };
      try {
        const place = this.#near(name) ?? (await this.#parts.index.locate(name, `chunk ${first + i} of disk ${disk.name}`, signal));
        const key = `${place.pack}/${place.offset}`;
        const group = groups.get(key);
        if (group) group[1].push(wanted);
        else groups.set(key, [place, [wanted]]);
      } catch (error) {
        this.#lose(wanted, error);
      }
    }
    return [...groups.values()];
  }

  #near(name: Uint8Array): RecordPlace | undefined {
    const near = this.#parts.index.nearby(name);
    return near && this.#parts.index.hurt.has(near) ? undefined : near;
  }

  /** Waits for a free place among the tasks, and lets the task go on in the background. */
  async #start(task: Promise<void>): Promise<void> {
    const tracked = task.catch((error: unknown) => {
      this.#failure ??= { error };
    });
    this.#inFlight.add(tracked);
    void tracked.then(() => this.#inFlight.delete(tracked));
    while (this.#inFlight.size >= this.#limit) await Promise.race(this.#inFlight);
    if (this.#failure) throw this.#failure.error;
    this.#progress(false);
  }

  async #deliver(batch: readonly Requested[]): Promise<void> {
    const { writtenBytes, lost } = await this.#delivery.deliver(batch);
    this.#written += writtenBytes;
    for (const { wanted, failure } of lost) await this.#rescue(wanted, failure);
  }

  async #rescue(wanted: Wanted, failure: unknown): Promise<void> {
    try {
      await this.#write(wanted.chunk, await fetchElsewhere(this.#parts, this.#pool, wanted.name, failure, this.#options.signal));
    } catch (error) {
      this.#lose(wanted, error);
    }
  }

  #lose({ chunk }: Wanted, error: unknown): void {
    const { grid, disk, salvage } = this.#options;
    if (!isDamage(error)) throw error;
    const offset = chunk * grid;
    const length = Math.min(grid, disk.size - offset);
    if (!salvage) {
      throw new VaultError(
        (error as VaultError).kind,
        `disk ${disk.name} cannot be restored at offset ${offset}`,
        { offset, length },
        { cause: error },
      );
    }
    this.#damaged.push({ offset, length, kind: "data" });
  }

  async #write(chunk: number, data: Uint8Array): Promise<void> {
    const { grid, disk, signal } = this.#options;
    const offset = chunk * grid;
    if (data.length !== Math.min(grid, disk.size - offset)) {
      throw new VaultError("corrupt", `a chunk of disk ${disk.name} at offset ${offset} has the wrong length`, { offset });
    }
    await this.#target.write(offset, data, { signal });
    this.#written += data.length;
  }

  async #zero(from: number, to: number): Promise<void> {
    if (from >= to || this.#options.blank === true) return;
    if (!this.#places) return await this.#writeZeroes(from, to);
    const { grid, disk, signal } = this.#options;
    for await (const place of this.#places.within(from * grid, Math.min(to * grid, disk.size))) {
      await this.#target.writeZeroes(place.from, place.to - place.from, { signal });
    }
  }

  async #writeZeroes(from: number, to: number): Promise<void> {
    const { grid, disk, signal } = this.#options;
    await this.#target.writeZeroes(from * grid, Math.min(to * grid, disk.size) - from * grid, { signal });
  }

  #progress(last: boolean): void {
    const { onProgress, grid, disk } = this.#options;
    const now = this.#parts.clock.monotonic();
    if (!onProgress || (!last && now - this.#reported < 100)) return;
    this.#reported = now;
    onProgress({ offset: Math.min(this.#next * grid, disk.size), size: disk.size, writtenBytes: this.#written });
  }
}

/** Resolves when all do; rejects with the first error, but not before everything has ended. */
async function allOf(tasks: readonly Promise<void>[]): Promise<void> {
  await Promise.allSettled(tasks);
  await Promise.all(tasks);
}
