import { type BlockSink, Semaphore } from "@godwit/core";
import { isDamage, VaultError } from "../errors.ts";
import { FileTarget } from "../file/target.ts";
import { nameLength } from "../format/names.ts";
import { limits, type RecordPlace } from "../format/objects.ts";
import type { PointDisk } from "../format/point.ts";
import type { VaultParts } from "../parts.ts";
import { StoreError } from "../store/blob-store.ts";
import { asMissing } from "../tree/nodes.ts";
import { MemoryPool } from "../work/memory.ts";
import type { OpenedRecord, WorkPool } from "../work/pool.ts";
import type { PackSource } from "../work/protocol.ts";
import { chunkIn } from "./fetch.ts";

export interface Wanted {
  /** Number of the chunk on the disk. */
  readonly chunk: number;
  readonly name: Uint8Array;
}

/** A record, and the chunks that are wanted of it. */
export type Requested = readonly [place: RecordPlace, wanted: readonly Wanted[]];

export interface Delivered {
  readonly writtenBytes: number;
  /** What was not written, and why: damage, or what the store said. */
  readonly lost: readonly { readonly wanted: Wanted; readonly failure: unknown }[];
}

export interface DeliveryOptions {
  readonly disk: PointDisk;
  readonly grid: number;
  readonly signal: AbortSignal;
}

/** Of one request to the store, and of one order to a thread. */
const batchBytes = 1 << 20;
const threadBytes = 4 << 20;
/** What may lie between two records that are read at once. */
const gapBytes = 64 << 10;
/** Requests under way: with 50 ms to the store, 600 MB/s. */
const requestsInFlight = 32;
const ordersPerThread = 3;
/** Opened, and not yet written: a target that is far away, or busy with a flush, must not run dry. */
const payloadBytes = 8 << 20;

type Range = { readonly start: number; readonly length: number };

/**
 * Brings records of packs to a target. Where the store is files and the target is one, threads do it alone;
 * else the store's bytes come here, neighbours in a pack together.
 */
export class Delivery {
  readonly #parts: VaultParts;
  readonly #pool: WorkPool;
  readonly #target: BlockSink;
  readonly #options: DeliveryOptions;
  readonly #requests = new Semaphore(requestsInFlight);
  readonly #opening: Semaphore;
  readonly #frames = new MemoryPool(batchBytes);
  readonly #payloads: MemoryPool;
  /** Threads read the store's files and write the target. */
  readonly #direct: boolean;

  constructor(parts: VaultParts, pool: WorkPool, target: BlockSink, options: DeliveryOptions) {
    this.#parts = parts;
    this.#pool = pool;
    this.#target = target;
    this.#options = options;
    this.#direct = parts.store.pathOf !== undefined && target instanceof FileTarget;
    this.#payloads = new MemoryPool(Math.max(parts.tuning.recordBytes, options.grid) + 64);
    this.#opening = new Semaphore(Math.max(pool.threads * ordersPerThread, Math.floor(payloadBytes / this.#payloads.bytes)));
  }

  /** How many {@link deliver} calls at once are useful. */
  get width(): number {
    return this.#direct ? this.#pool.threads * ordersPerThread : requestsInFlight;
  }

  /** Cuts what is wanted into batches for {@link deliver}: of one pack, neighbours together, and not too much at once. */
  batches(requested: readonly Requested[]): Requested[][] {
    const batches: Requested[][] = [];
    let bytes = 0;
    let unpacked = 0;
    // What was stored together was dealt out to several packs.
    const byPlace = requested.toSorted(([a], [b]) => (a.pack < b.pack ? -1 : a.pack > b.pack ? 1 : a.offset - b.offset));
    for (const one of byPlace) {
      const [place, wanted] = one;
      const batch = batches.at(-1);
      const last = batch?.at(-1)?.[0];
      const gap = last ? place.offset - (last.offset + last.length) : 0;
      const near = last?.pack === place.pack && (this.#direct || (gap >= 0 && gap <= gapBytes));
      unpacked += wanted.length * this.#options.grid;
      bytes += gap + place.length;
      if (batch && near && (this.#direct || bytes <= batchBytes) && unpacked <= threadBytes) {
        batch.push(one);
        continue;
      }
      batches.push([one]);
      bytes = place.length;
      unpacked = wanted.length * this.#options.grid;
    }
    return batches;
  }

  /** Writes a batch to the target. Damage is told; what else goes wrong with the target throws. */
  async deliver(batch: readonly Requested[]): Promise<Delivered> {
    const { pack } = batch[0]![0];
    if (this.#direct) return await this.#carry(this.#target as FileTarget, batch, { path: this.#parts.store.pathOf!(pack) });
    using _ = await this.#requests.acquire({ signal: this.#options.signal });
    let memory: SharedArrayBuffer | undefined;
    try {
      const range = rangeOf(batch);
      memory = this.#frames.take(range.length);
      const source = await this.#read(pack, range, memory);
      if (this.#target instanceof FileTarget) return await this.#carry(this.#target, batch, source);
      return await this.#open(batch, source);
    } catch (error) {
      const failure = error instanceof StoreError ? asMissing(error, pack) : error;
      if (!isDamage(failure)) throw failure;
      return { writtenBytes: 0, lost: batch.flatMap(([, wanted]) => wanted.map((one) => ({ wanted: one, failure }))) };
    } finally {
      if (memory) this.#frames.give(memory);
    }
  }

  async #read(pack: string, { start, length }: Range, memory: SharedArrayBuffer): Promise<Extract<PackSource, { memory: unknown }>> {
    const { signal } = this.#options;
    const into = new Uint8Array(memory, 0, length);
    const both = [this.#parts.ciphers.header(pack, signal), this.#parts.store.read(pack, start, into, { signal })] as const;
    // Nobody may get the memory back while it is still being read into.
    await Promise.allSettled(both);
    const [header, got] = await Promise.all(both);
    return { memory, start, length: got, header };
  }

  /** Has a thread open the records and write them. */
  async #carry(target: FileTarget, batch: readonly Requested[], from: PackSource): Promise<Delivered> {
    const wanted = batch.flatMap(([, chunks]) => chunks);
    const names = new Uint8Array(wanted.length * nameLength);
    wanted.forEach(({ name }, i) => names.set(name, i * nameLength));
    const order = {
      pack: batch[0]![0].pack,
      from,
      records: batch.map(([{ offset, length }, chunks]) => ({ offset, length, count: chunks.length })),
      names,
      chunks: wanted.map(({ chunk }) => chunk),
      to: { fd: target.descriptor, size: this.#options.disk.size },
    };
    const { writtenBytes, lost } = await this.#pool.carry(order).catch((error: Error & { readonly offset?: number }) => {
      throw error.offset === undefined ? error : target.failed(error.offset, error);
    });
    target.wrote(writtenBytes);
    const failureOf = (kind: VaultError["kind"] | "", message: string): unknown =>
      kind === "" ? undefined : new VaultError(kind, message);
    return { writtenBytes, lost: lost.map(({ index, kind, message }) => ({ wanted: wanted[index]!, failure: failureOf(kind, message) })) };
  }

  /** Has threads open the records, and writes them from here. */
  async #open(batch: readonly Requested[], source: Extract<PackSource, { memory: unknown }>): Promise<Delivered> {
    const all = await Promise.allSettled(batch.map((one) => this.#openOne(one, source)));
    const failed = all.find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
    const delivered = all.map((result) => (result as PromiseFulfilledResult<Delivered>).value);
    return {
      writtenBytes: delivered.reduce((sum, { writtenBytes }) => sum + writtenBytes, 0),
      lost: delivered.flatMap(({ lost }) => lost),
    };
  }

  async #openOne([place, wanted]: Requested, source: Extract<PackSource, { memory: unknown }>): Promise<Delivered> {
    using _ = await this.#opening.acquire({ signal: this.#options.signal });
    const into = this.#payloads.take();
    try {
      const record = await this.#pool.open(place, source, { memory: into, at: 0, bytes: into.byteLength });
      return await this.#write(record, wanted);
    } catch (failure) {
      if (!isDamage(failure)) throw failure;
      return { writtenBytes: 0, lost: wanted.map((one) => ({ wanted: one, failure })) };
    } finally {
      this.#payloads.give(into);
    }
  }

  /** Neighbours in the record that are neighbours on the disk are written together. */
  async #write(record: OpenedRecord, wanted: readonly Wanted[]): Promise<Delivered> {
    const { grid, disk, signal } = this.#options;
    const lost: Delivered["lost"][number][] = [];
    let run: { readonly chunk: number; chunks: number; readonly start: number; end: number } | undefined;
    let writtenBytes = 0;
    const flush = async (): Promise<void> => {
      if (!run) return;
      await this.#target.write(run.chunk * grid, record.payload.subarray(run.start, run.end), { signal });
      writtenBytes += run.end - run.start;
      run = undefined;
    };
    for (const one of wanted) {
      const found = chunkIn(record, one.name, 0);
      if (found?.length !== Math.min(grid, disk.size - one.chunk * grid)) {
        lost.push({ wanted: one, failure: undefined });
      } else if (run && run.chunk + run.chunks === one.chunk && run.end === found.start) {
        run.chunks += 1;
        run.end += found.length;
      } else {
        await flush();
        run = { chunk: one.chunk, chunks: 1, start: found.start, end: found.start + found.length };
      }
    }
    await flush();
    return { writtenBytes, lost };
  }
}

/** The part of the pack that holds all records of a batch. Throws `corrupt` for what no record can be. */
function rangeOf(batch: readonly Requested[]): Range {
  const start = Math.min(...batch.map(([{ offset }]) => offset));
  const end = Math.max(...batch.map(([{ offset, length }]) => offset + length));
  const most = batch.length === 1 ? limits.recordBytes + (16 << 10) : Infinity;
  if (end - start > most) throw new VaultError("corrupt", `the index tells of a record of ${end - start} bytes`);
  return { start, length: end - start };
}
