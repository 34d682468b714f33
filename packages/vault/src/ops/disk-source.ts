import { BlockError, type BlockSource, type Extent, raceAbort } from "@godwit/core";
import { isDamage } from "../errors.ts";
import { isZeroName, nameLength } from "../format/names.ts";
import { fanOut } from "../format/node.ts";
import type { RecordPlace } from "../format/objects.ts";
import type { Point, PointDisk } from "../format/point.ts";
import { type VaultParts, workerSetup } from "../parts.ts";
import { childOf, type Tree, walkLeaves } from "../tree/nodes.ts";
import { MemoryPool } from "../work/memory.ts";
import { type OpenedRecord, WorkPool } from "../work/pool.ts";
import { treeOf } from "./disk-writer.ts";
import { chunkIn, fetchElsewhere, openRecord } from "./fetch.ts";

const cachedBytes = 96 << 20;
/** Room for a record of our writers, as its frame and unpacked. */
const memoryBytes = (256 + 16) << 10;
const cachedLeaves = 4096;

/** A record that is open, or about to be. */
interface Held {
  readonly opening: Promise<OpenedRecord>;
  memory: SharedArrayBuffer | undefined;
  bytes: number;
  /** Readers that wait for it or copy from it. */
  users: number;
  evicted: boolean;
}

/**
 * A disk of a recovery point, to be read at random by several readers at once. Damage is a `BlockError` of
 * kind `corrupt` for the reads that touch it and no others.
 */
export class PointDiskSource implements BlockSource {
  readonly size: number;
  readonly #parts: VaultParts;
  readonly #grid: number;
  readonly #tree: Tree;
  readonly #name: string;
  readonly #pool: WorkPool;
  readonly #leaves = new Map<number, Promise<Uint8Array | undefined>>();
  readonly #records = new Map<string, Held>();
  readonly #memory = new MemoryPool(memoryBytes);
  /** Loads are shared between readers, so that none of them may cancel one: they end with the source. */
  readonly #closed = new AbortController();
  #recordBytes = 0;

  constructor(parts: VaultParts, point: Point, disk: PointDisk) {
    this.size = disk.size;
    this.#parts = parts;
    this.#grid = point.grid;
    this.#tree = treeOf(disk, point.grid);
    this.#name = disk.name;
    this.#pool = new WorkPool(workerSetup(parts), { threads: parts.tuning.threads });
  }

  async *extents({ signal }: { signal: AbortSignal }): AsyncGenerator<Extent> {
    let open: { offset: number; length: number; kind: Extent["kind"] } | undefined;
    const grow = function* (kind: Extent["kind"], to: number): Generator<Extent> {
      const from = open ? open.offset + open.length : 0;
      if (to <= from) return;
      if (open?.kind === kind) {
        open.length = to - open.offset;
      } else {
        if (open) yield open;
        open = { offset: from, length: to - from, kind };
      }
    };
    const end = (chunk: number): number => Math.min(chunk * this.#grid, this.size);
    for await (const { first, names } of walkLeaves(this.#parts.nodes, this.#tree, { from: 0, to: Infinity }, signal)) {
      yield* grow("zero", end(first));
      for (let i = 0; i < fanOut; i += 1) yield* grow(isZeroName(names, i * nameLength) ? "zero" : "data", end(first + i + 1));
    }
    yield* grow("zero", this.size);
    if (open) yield open;
  }

  async read(offset: number, into: Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    if (offset < 0 || offset + into.length > this.size) {
      throw new BlockError("out-of-range", `disk ${this.#name} has ${this.size} bytes; ${into.length} were asked for at ${offset}`, {
        offset,
      });
    }
    const reads: Promise<void>[] = [];
    for (let at = offset; at < offset + into.length;) {
      const chunk = Math.floor(at / this.#grid);
      const end = Math.min((chunk + 1) * this.#grid, offset + into.length);
      reads.push(this.#readChunk(chunk, at - chunk * this.#grid, into.subarray(at - offset, end - offset)));
      at = end;
    }
    await raceAbort(Promise.all(reads), signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new BlockError("io", `disk ${this.#name} was closed`));
    await this.#pool[Symbol.asyncDispose]();
    this.#records.clear();
  }

  async #readChunk(chunk: number, skip: number, into: Uint8Array): Promise<void> {
    try {
      const leaf = await this.#leaf(Math.floor(chunk / fanOut));
      const name = leaf && childOf(leaf, chunk);
      if (!name || isZeroName(name)) {
        into.fill(0);
        return;
      }
      await this.#copyChunk(name, chunk, skip, into);
    } catch (error) {
      if (!isDamage(error)) throw error;
      throw new BlockError("corrupt", `disk ${this.#name} is damaged at offset ${chunk * this.#grid}`, { chunk }, { cause: error });
    }
  }

  async #copyChunk(name: Uint8Array, chunk: number, skip: number, into: Uint8Array): Promise<void> {
    const { signal } = this.#closed;
    const place = this.#parts.index.nearby(name) ?? (await this.#parts.index.locate(name, `chunk ${chunk} of disk ${this.#name}`, signal));
    const held = this.#hold(place);
    let failure: unknown;
    try {
      const record = await held.opening;
      const found = chunkIn(record, name, 0);
      if (found) return into.set(record.payload.subarray(found.start + skip, found.start + skip + into.length));
    } catch (error) {
      if (!isDamage(error)) throw error;
      failure = error;
    } finally {
      held.users -= 1;
      this.#release(held);
    }
    const content = await fetchElsewhere(this.#parts, this.#pool, name, failure, signal);
    into.set(content.subarray(skip, skip + into.length));
  }

  #leaf(number: number): Promise<Uint8Array | undefined> {
    const known = this.#leaves.get(number);
    if (known) return known;
    if (this.#leaves.size >= cachedLeaves) this.#leaves.delete(this.#leaves.keys().next().value!);
    const loading = this.#loadLeaf(number, this.#closed.signal);
    this.#leaves.set(number, loading);
    loading.catch(() => this.#leaves.delete(number));
    return loading;
  }

  async #loadLeaf(number: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const range = { from: number * fanOut, to: number * fanOut + 1 };
    for await (const { names } of walkLeaves(this.#parts.nodes, this.#tree, range, signal)) return names;
    return undefined;
  }

  /** Opens a record once for all who ask, and keeps it while there is room. The caller is a user of it now. */
  #hold(place: RecordPlace): Held {
    const key = `${place.pack}/${place.offset}`;
    let held = this.#records.get(key);
    if (held) this.#records.delete(key);
    else held = this.#open(place, key);
    this.#records.set(key, held);
    held.users += 1;
    return held;
  }

  #open(place: RecordPlace, key: string): Held {
    const { promise: opening, resolve, reject } = Promise.withResolvers<OpenedRecord>();
    const held: Held = { opening, memory: undefined, bytes: 0, users: 0, evicted: false };
    // Memory may be asked for within the call, when the frame needs no reading.
    const take = (bytes: number): SharedArrayBuffer => (held.memory = this.#memory.take(bytes));
    openRecord(this.#parts, this.#pool, place, { signal: this.#closed.signal, take }).then(resolve, reject);
    const opened = ({ payload }: OpenedRecord): void => {
      held.bytes = payload.length;
      this.#recordBytes += held.bytes;
      this.#evict();
    };
    opening.then(opened, () => {
      this.#records.delete(key);
      held.evicted = true;
      this.#release(held);
    });
    return held;
  }

  #evict(): void {
    for (const [key, held] of this.#records) {
      if (this.#recordBytes <= cachedBytes) return;
      if (held.bytes === 0) continue;
      this.#records.delete(key);
      this.#recordBytes -= held.bytes;
      held.evicted = true;
      this.#release(held);
    }
  }

  /** Its memory is for others when it is not kept and nobody reads from it any more. */
  #release(held: Held): void {
    if (!held.evicted || held.users > 0 || !held.memory) return;
    this.#memory.give(held.memory);
    held.memory = undefined;
  }
}
