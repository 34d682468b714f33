import { BlockError, type Extent, type LendingSource, type Lent, type LentPiece, raceAbort } from "@godwit/core";
import { isDamage } from "../errors.ts";
import { isZeroName, nameLength } from "../format/names.ts";
import { fanOut } from "../format/node.ts";
import type { RecordPlace } from "../format/objects.ts";
import type { Point, PointDisk } from "../format/point.ts";
import { type VaultParts, workerSetup } from "../parts.ts";
import { childOf, type Tree, walkLeaves } from "../tree/nodes.ts";
import { MemoryPool } from "../work/memory.ts";
import { type OpenedRecord, WorkPool } from "../work/pool.ts";
import type { Room } from "../work/protocol.ts";
import { treeOf } from "./disk-writer.ts";
import { chunkIn, fetchElsewhere, openRecord } from "./fetch.ts";
import { type Held, RecordCache } from "./record-cache.ts";

/** What is kept unpacked where nobody says: room for what a guest reads again and again. */
export const defaultCacheBytes: number = 96 << 20;
/** Room for the frame of a record of our writers. */
const frameBytes = (256 + 16) << 10;
const cachedLeaves = 4096;
/** Opened ahead of a reader that has followed itself so many times. */
const aheadBytes = { near: 4 << 20, far: 16 << 20 };
const streakFrom = 2;
/** Chunks whose place among the open records is known. */
const knownPlaces = 1 << 16;

export interface DiskOptions {
  /** What is kept in memory of what was read, unpacked; at most about so many bytes. */
  readonly cacheBytes?: number;
}

/** Where a chunk lies in a record that is held; undefined for zeros. */
type Found = { readonly held: Held; readonly record: OpenedRecord; readonly start: number } | undefined;

interface Range {
  readonly offset: number;
  readonly length: number;
}

/**
 * A disk of a recovery point, to be read at random by several readers at once. Damage is a `BlockError` of
 * kind `corrupt` for the reads that touch it and no others.
 */
export class PointDiskSource implements LendingSource {
  readonly size: number;
  readonly #parts: VaultParts;
  readonly #grid: number;
  readonly #tree: Tree;
  readonly #name: string;
  readonly #pool: WorkPool;
  readonly #leaves = new Map<number, Promise<Uint8Array | undefined>>();
  /** By number of the chunk. What was evicted since is found out on use. */
  readonly #found = new Map<number, Found>();
  readonly #records: RecordCache;
  readonly #frames = new MemoryPool(frameBytes);
  /** Where the last read ended, how many before it followed one another, and how far what comes next is being opened. */
  #streak = { end: -1, reads: 0, ahead: 0 };
  /** Loads are shared between readers, so that none of them may cancel one: they end with the source. */
  readonly #closed = new AbortController();

  constructor(parts: VaultParts, point: Point, disk: PointDisk, { cacheBytes = defaultCacheBytes }: DiskOptions = {}) {
    this.size = disk.size;
    this.#parts = parts;
    this.#grid = point.grid;
    this.#tree = treeOf(disk, point.grid);
    this.#name = disk.name;
    this.#pool = new WorkPool(workerSetup(parts), { threads: parts.tuning.threads });
    this.#records = new RecordCache((place, room) => this.#open(place, room), cacheBytes);
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

  async read(offset: number, into: Uint8Array, options: { signal: AbortSignal }): Promise<void> {
    const lending = this.lend(offset, into.length, options);
    const lent = lending instanceof Promise ? await lending : lending;
    let at = 0;
    for (const { bytes, length } of lent.pieces) {
      if (bytes) into.set(bytes, at);
      else into.fill(0, at, at + length);
      at += length;
    }
    lent.release();
  }

  lend(offset: number, length: number, { signal }: { signal: AbortSignal }): Lent | Promise<Lent> {
    if (offset < 0 || offset + length > this.size) {
      throw new BlockError("out-of-range", `disk ${this.#name} has ${this.size} bytes; ${length} were asked for at ${offset}`, { offset });
    }
    this.#readAhead(offset, length);
    return this.#lendNow({ offset, length }) ?? this.#lendLater({ offset, length }, signal);
  }

  /** Opens what comes next for who reads on and on, one request after the other: all threads work, and no distance is waited for. */
  #readAhead(offset: number, length: number): void {
    const streak = this.#streak;
    const follows = offset === streak.end;
    this.#streak = { end: offset + length, reads: follows ? streak.reads + 1 : 0, ahead: follows ? streak.ahead : 0 };
    const bytes = this.#parts.store.pathOf ? aheadBytes.near : aheadBytes.far;
    const from = Math.max(offset + length, this.#streak.ahead);
    const to = Math.min(this.size, offset + length + bytes);
    if (this.#streak.reads < streakFrom || to - from < bytes / 2) return;
    this.#streak.ahead = to;
    for (const { chunk } of this.#chunksOf({ offset: from, length: to - from })) {
      if (this.#found.get(chunk)?.held.evicted === false) continue;
      // What goes wrong is told to who reads it.
      this.#find(chunk)
        .then((found) => found && this.#records.leave(found.held))
        .catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new BlockError("io", `disk ${this.#name} was closed`));
    await this.#pool[Symbol.asyncDispose]();
    this.#found.clear();
    this.#records.clear();
  }

  /** The range, when all of it is in memory. */
  #lendNow(range: Range): Lent | undefined {
    const loan = new Loan(this.#records);
    for (const { chunk, skip, length } of this.#chunksOf(range)) {
      const found = this.#found.get(chunk);
      const known = found ? !found.held.evicted : this.#found.has(chunk);
      if (!known) {
        loan.release();
        return undefined;
      }
      if (found) this.#records.use(found.held);
      loan.add(found, skip, length);
    }
    return loan;
  }

  async #lendLater(range: Range, signal: AbortSignal): Promise<Lent> {
    const parts = [...this.#chunksOf(range)];
    const finding = parts.map(({ chunk }) => this.#find(chunk));
    const settled = Promise.allSettled(finding);
    try {
      const all = await raceAbort(Promise.all(finding), signal);
      const loan = new Loan(this.#records);
      parts.forEach(({ skip, length }, i) => loan.add(all[i], skip, length));
      return loan;
    } catch (error) {
      void settled.then((results) => {
        for (const result of results) if (result.status === "fulfilled" && result.value) this.#records.leave(result.value.held);
      });
      throw error;
    }
  }

  *#chunksOf({ offset, length }: Range): Generator<{ chunk: number; skip: number; length: number }> {
    for (let at = offset; at < offset + length;) {
      const chunk = Math.floor(at / this.#grid);
      const end = Math.min((chunk + 1) * this.#grid, offset + length);
      yield { chunk, skip: at - chunk * this.#grid, length: end - at };
      at = end;
    }
  }

  /** Finds a chunk; the caller is a user of what holds it. */
  async #find(chunk: number): Promise<Found> {
    try {
      const leaf = await this.#leaf(Math.floor(chunk / fanOut));
      const name = leaf && childOf(leaf, chunk);
      const found = !name || isZeroName(name) ? undefined : await this.#findChunk(name, chunk);
      if (this.#found.size >= knownPlaces) this.#found.clear();
      if (!found?.held.evicted) this.#found.set(chunk, found);
      return found;
    } catch (error) {
      if (!isDamage(error)) throw error;
      throw new BlockError("corrupt", `disk ${this.#name} is damaged at offset ${chunk * this.#grid}`, { chunk }, { cause: error });
    }
  }

  async #findChunk(name: Uint8Array, chunk: number): Promise<Found> {
    const { signal } = this.#closed;
    const place = this.#parts.index.nearby(name) ?? (await this.#parts.index.locate(name, `chunk ${chunk} of disk ${this.#name}`, signal));
    const held = this.#records.hold(place);
    let failure: unknown;
    try {
      const record = held.opened ?? (await held.opening);
      const found = chunkIn(record, name, 0);
      if (found?.length === Math.min(this.#grid, this.size - chunk * this.#grid)) return { held, record, start: found.start };
    } catch (error) {
      failure = error;
    }
    this.#records.leave(held);
    if (failure !== undefined && !isDamage(failure)) throw failure;
    const payload = await fetchElsewhere(this.#parts, this.#pool, name, failure, signal);
    const record = { payload, names: name, lengths: Uint32Array.of(payload.length) };
    // Kept by nobody but who asked: evicted from the start.
    return { held: { opening: Promise.resolve(record), opened: record, users: 1, evicted: true }, record, start: 0 };
  }

  /** A thread reads what is a file by itself; what it cannot read is asked of the store, which knows why. */
  async #open(place: RecordPlace, room: Room): Promise<OpenedRecord> {
    const { store } = this.#parts;
    const { signal } = this.#closed;
    if (store.pathOf) {
      try {
        return await this.#pool.open(place, { path: store.pathOf(place.pack) }, room);
      } catch (error) {
        if (isDamage(error) || signal.aborted) throw error;
      }
    }
    let frame: SharedArrayBuffer | undefined;
    const take = (bytes: number): SharedArrayBuffer => (frame = this.#frames.take(bytes));
    try {
      return await openRecord(this.#parts, this.#pool, place, { signal, take, into: room });
    } finally {
      if (frame) this.#frames.give(frame);
    }
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
}

/** What was lent of records that are held, for as long as somebody reads from it. */
class Loan implements Lent {
  readonly pieces: LentPiece[] = [];
  readonly release = (): void => {
    for (const held of this.#helds.splice(0)) this.#records.leave(held);
  };
  readonly #records: RecordCache;
  readonly #helds: Held[] = [];
  #last: { readonly record: OpenedRecord | undefined; end: number } | undefined;

  constructor(records: RecordCache) {
    this.#records = records;
  }

  /** Neighbours become one piece. */
  add(found: Found, skip: number, length: number): void {
    if (found) this.#helds.push(found.held);
    const start = found ? found.start + skip : 0;
    const last = this.#last;
    const joins = last !== undefined && last.record === found?.record && (!found || last.end === start);
    const before = joins ? this.pieces.pop()!.length : 0;
    const bytes = found?.record.payload.subarray(start - before, start + length);
    this.pieces.push({ length: before + length, ...(bytes ? { bytes } : {}) });
    this.#last = { record: found?.record, end: start + length };
  }
}
