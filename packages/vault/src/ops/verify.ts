import { randomInt } from "node:crypto";
import { anySignal, describeError, type Extent } from "@godwit/core";
import { isDamage } from "../errors.ts";
import { headerLength } from "../format/envelope.ts";
import { isZeroName, nameLength } from "../format/names.ts";
import { fanOut } from "../format/node.ts";
import { decodeRecord } from "../format/record.ts";
import type { PackKind, RecordPlace } from "../format/objects.ts";
import type { Point } from "../format/point.ts";
import type { TableRecord } from "../format/pack.ts";
import type { Hurt } from "../index/hurt.ts";
import { NameTable } from "../index/name-table.ts";
import { readPackTable } from "../index/vault-index.ts";
import { type VaultParts, workerSetup } from "../parts.ts";
import { type BlobInfo, isNotFound } from "../store/blob-store.ts";
import { childOf, readFrame } from "../tree/nodes.ts";
import { MemoryPool } from "../work/memory.ts";
import { WorkPool } from "../work/pool.ts";
import { readConfig } from "./config.ts";
import { treeOf } from "./disk-writer.ts";
import { openRecord } from "./fetch.ts";
import { listPoints } from "./points.ts";

export interface VerifyOptions {
  readonly signal: AbortSignal;
  /**
   * What to read of the packs: `all`; or packs chosen at random until so many bytes were read. Indexes,
   * trees and recovery points are always checked whole.
   */
  readonly packs: "all" | { readonly bytes: number };
  /** Check these points only, and of the packs only what they need. */
  readonly points?: readonly Point[];
  /** Mark what is damaged, so that later puts store it anew. True unless said otherwise. */
  readonly quarantine?: boolean;
  readonly onProgress?: (progress: VerifyProgress) => void;
}

export interface VerifyProgress {
  readonly step: "packs" | "points";
  readonly done: number;
  readonly bytes: number;
}

/** A disk of a point that cannot be restored whole. */
export interface HurtDisk {
  readonly point: string;
  readonly name: string;
  readonly disk: string;
  /** Where, bytes; whole chunks, in order. */
  readonly extents: readonly Extent[];
}

export interface VerifyResult {
  readonly packs: number;
  readonly bytes: number;
  readonly points: number;
  /** Damaged objects, each with what is wrong. */
  readonly damage: readonly { readonly object: string; readonly problem: string }[];
  /** Points of which nothing is known any more, as their own object is damaged. */
  readonly lostPoints: readonly string[];
  readonly hurt: readonly HurtDisk[];
  /** Ids of the points that can be restored whole, as far as was looked. */
  readonly whole: readonly string[];
}

const maxNodesRemembered = 1 << 20;
const recordsAtOnce = 12;

/** Looks for damage and says what it means. Deletes nothing. */
export async function verify(parts: VaultParts, options: VerifyOptions): Promise<VerifyResult> {
  const failed = new AbortController();
  const signal = anySignal(options.signal, failed.signal);
  await using pool = new WorkPool(workerSetup(parts), { threads: parts.tuning.threads });
  const run = new Verification(parts, pool, { ...options, signal });
  try {
    return await run.run();
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}

class Verification {
  readonly #parts: VaultParts;
  readonly #pool: WorkPool;
  readonly #options: VerifyOptions;
  readonly #damage: { object: string; problem: string }[] = [];
  readonly #memory = new MemoryPool(1 << 20);
  /** Nodes whose whole subtree was found well. */
  readonly #well = new NameTable(0);
  /** Records of packs that were opened already: 1 well, 0 not. Only for checks of single points. */
  readonly #opened = new Map<string, Promise<boolean>>();
  #packs = 0;
  #bytes = 0;

  constructor(parts: VaultParts, pool: WorkPool, options: VerifyOptions) {
    this.#parts = parts;
    this.#pool = pool;
    this.#options = options;
  }

  async run(): Promise<VerifyResult> {
    const { signal, points } = this.#options;
    if (!(await readConfig(this.#parts.store, signal))) this.#damaged("config", "it is missing or damaged; repair writes it anew");
    await this.#parts.index.refresh(signal);
    if (!points) {
      await this.#checkIndex();
      for await (const pack of this.#chosenPacks()) await this.#checkPack(pack);
    }
    for (const batch of this.#parts.index.damagedSegments) this.#damaged(`index/${batch}`, "it is damaged; repair makes it anew");
    const listed = points ? { points, damaged: [] } : await listPoints(this.#parts, { signal });
    for (const id of listed.damaged) this.#damaged(`point/${id}`, "it is damaged: what it listed cannot be found from here");
    const hurt: HurtDisk[] = [];
    for (const point of listed.points) hurt.push(...(await this.#checkPoint(point)));
    return {
      packs: this.#packs,
      bytes: this.#bytes,
      points: listed.points.length,
      damage: this.#damage,
      lostPoints: listed.damaged,
      hurt,
      whole: listed.points.map(({ id }) => id).filter((id) => !hurt.some(({ point }) => point === id)),
    };
  }

  #damaged(object: string, problem: string): void {
    if (!this.#damage.some((one) => one.object === object && one.problem === problem)) this.#damage.push({ object, problem });
  }

  async #checkIndex(): Promise<void> {
    const { signal } = this.#options;
    for (const segment of this.#parts.index.segments) {
      try {
        for await (const _block of segment.stream(0, segment.blocks - 1, signal));
      } catch (error) {
        if (!isDamage(error) && !isNotFound(error)) throw error;
        this.#damaged(`index/${segment.batch}`, describeError(error));
      }
    }
  }

  async *#chosenPacks(): AsyncGenerator<BlobInfo> {
    const { packs, signal } = this.#options;
    const list = async function* (store: VaultParts["store"]): AsyncGenerator<BlobInfo> {
      for (const kind of ["data", "tree"] satisfies PackKind[]) yield* store.list(`${kind}/`, { signal });
    };
    if (packs === "all") return yield* list(this.#parts.store);
    // A reservoir: every pack has the same chance, and no more names are held than may be read.
    const keep = Math.max(1, Math.ceil(packs.bytes / this.#parts.tuning.packBytes));
    const chosen: BlobInfo[] = [];
    let seen = 0;
    for await (const pack of list(this.#parts.store)) {
      seen += 1;
      if (chosen.length < keep) chosen.push(pack);
      else if (randomInt(seen) < keep) chosen[randomInt(keep)] = pack;
    }
    for (const pack of chosen) if (this.#bytes < packs.bytes) yield pack;
  }

  async #checkPack(pack: BlobInfo): Promise<void> {
    const { store, keys } = this.#parts;
    const { signal, onProgress } = this.#options;
    const bad: number[] = [];
    let whole = false;
    try {
      const { records } = await readPackTable(store, keys, pack, signal);
      for (let first = 0; first < records.length; first += recordsAtOnce) {
        const some = records.slice(first, first + recordsAtOnce);
        const good = await Promise.all(some.map((record) => this.#checkRecord(pack.name, record)));
        some.forEach((record, i) => good[i] || bad.push(record.offset));
      }
    } catch (error) {
      if (!isDamage(error) && !isNotFound(error)) throw error;
      // A pack that gc deleted since it was listed is no loss.
      if (isNotFound(error) && (await this.#isForgotten(pack.name))) return;
      this.#damaged(pack.name, describeError(error));
      const found = await this.#checkByIndex(pack.name);
      bad.push(...found.bad);
      whole = found.good === 0;
    }
    if (bad.length > 0 || whole) await this.#quarantine({ pack: pack.name, records: bad, whole });
    this.#packs += 1;
    this.#bytes += pack.size;
    onProgress?.({ step: "packs", done: this.#packs, bytes: this.#bytes });
  }

  async #checkRecord(pack: string, record: TableRecord): Promise<boolean> {
    const place = { pack, offset: record.offset, length: record.length };
    const { signal } = this.#options;
    let memory: SharedArrayBuffer | undefined;
    const take = (bytes: number): SharedArrayBuffer => (memory = this.#memory.take(bytes));
    try {
      if (record.kind === "chunk") {
        await openRecord(this.#parts, this.#pool, place, { signal, take, check: true });
      } else {
        const cipher = await this.#parts.ciphers.of(pack, signal);
        const frame = await readFrame(this.#parts.store, place, take, signal);
        decodeRecord(cipher.open(new Uint8Array(frame, 0, place.length), place.offset), pack);
      }
      return true;
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#damaged(pack, `record at ${record.offset}: ${describeError(error)}`);
      return false;
    } finally {
      if (memory) this.#memory.give(memory);
    }
  }

  /** A pack whose table is gone may still give up the records that the index knows. */
  async #checkByIndex(pack: string): Promise<{ good: number; bad: number[] }> {
    const { signal } = this.#options;
    const records = new Map<number, number>();
    for (const segment of this.#parts.index.segments) {
      const packNumber = segment.head.packs.findIndex(({ name }) => name === pack);
      if (packNumber < 0) continue;
      for (let number = 0; number < segment.blocks; number += 1) {
        const block = await segment.block(number, signal).catch((error: unknown) => {
          // What is wrong with the index is said elsewhere.
          if (!isDamage(error) && !isNotFound(error)) throw error;
        });
        for (const { offset, length } of block ? segment.recordsOf(packNumber, block) : []) records.set(offset, length);
      }
    }
    const bad: number[] = [];
    for (const [offset, length] of records) {
      const kind = pack.startsWith("tree/") ? "node" : "chunk";
      if (!(await this.#checkRecord(pack, { offset, length, kind, items: [] }))) bad.push(offset);
    }
    return { good: records.size - bad.length, bad };
  }

  async #quarantine(hurt: Hurt): Promise<void> {
    const { store, keys, clock, index } = this.#parts;
    if (this.#options.quarantine === false) index.hurt.note(hurt);
    else await index.hurt.mark(store, keys, hurt, { time: clock.now(), signal: this.#options.signal });
  }

  async #checkPoint(point: Point): Promise<HurtDisk[]> {
    const hurt: HurtDisk[] = [];
    for (const disk of point.disks) {
      const tree = treeOf(disk, point.grid);
      const extents: { offset: number; length: number; kind: "data" }[] = [];
      for await (const { chunk, chunks } of this.#badChunks(tree.root, tree.levels, 0)) {
        const offset = chunk * point.grid;
        const length = Math.min(chunks * point.grid, disk.size - offset);
        const last = extents.at(-1);
        if (last && last.offset + last.length === offset) last.length += length;
        else if (length > 0) extents.push({ offset, length, kind: "data" });
      }
      if (extents.length > 0) hurt.push({ point: point.id, name: point.name, disk: disk.name, extents });
      this.#options.onProgress?.({ step: "points", done: 0, bytes: this.#bytes });
    }
    return hurt;
  }

  /** The runs of chunks below a node that cannot be had, in order. */
  async *#badChunks(name: Uint8Array, level: number, first: number): AsyncGenerator<{ chunk: number; chunks: number }> {
    if (isZeroName(name) || this.#well.find(name) >= 0) return;
    const { signal } = this.#options;
    signal.throwIfAborted();
    let entries: Uint8Array;
    try {
      entries = await this.#parts.nodes.load(name, level, signal);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#damaged(`tree node of level ${level}`, describeError(error));
      yield { chunk: first, chunks: fanOut ** level };
      return;
    }
    let bad = 0;
    const span = fanOut ** (level - 1);
    const well = level === 1 ? await this.#checkChunks(entries) : undefined;
    for (let i = 0; i < fanOut; i += 1) {
      if (well) {
        if (well[i]) continue;
        bad += 1;
        yield { chunk: first + i, chunks: 1 };
        continue;
      }
      for await (const run of this.#badChunks(childOf(entries, i), level - 1, first + i * span)) {
        bad += 1;
        yield run;
      }
    }
    if (bad === 0 && this.#well.size < maxNodesRemembered) this.#well.add(name);
  }

  async #checkChunks(names: Uint8Array): Promise<boolean[]> {
    return await Promise.all(
      Array.from({ length: fanOut }, (_, i) => this.#hasChunk(names.subarray(i * nameLength, (i + 1) * nameLength))),
    );
  }

  /** True when some place of the chunk is well: known, not hurt, and when single points are checked, opened. */
  async #hasChunk(name: Uint8Array): Promise<boolean> {
    if (isZeroName(name)) return true;
    const { index } = this.#parts;
    const { signal, points } = this.#options;
    const isWell = (place: RecordPlace): Promise<boolean> => (points ? this.#opens(place) : this.#exists(place.pack));
    let since: number;
    do {
      since = index.generation;
      const first = await index.find(name, signal, true);
      if (first && (await isWell(first))) return true;
      for await (const place of index.places(name, signal)) if (!index.hurt.has(place) && (await isWell(place))) return true;
      // Gc may have moved it since the index was read.
    } while (await index.renew(signal, since));
    return false;
  }

  async #exists(pack: string): Promise<boolean> {
    try {
      return (await this.#parts.ciphers.header(pack, this.#options.signal)).length === headerLength;
    } catch (error) {
      if (!isDamage(error) && !isNotFound(error)) throw error;
      if (!isNotFound(error)) this.#damaged(pack, describeError(error));
      else if (!(await this.#isForgotten(pack))) this.#damaged(pack, "it is missing");
      return false;
    }
  }

  /** True for a pack that gc deleted: no index mentions it any more, or it is condemned. */
  async #isForgotten(pack: string): Promise<boolean> {
    const { index } = this.#parts;
    const isMentioned = (): boolean => index.segments.some(({ head }) => head.packs.some(({ name }) => name === pack));
    if (isMentioned() && !index.condemned.has(pack)) await index.renew(this.#options.signal, index.generation);
    return !isMentioned() || index.condemned.has(pack);
  }

  #opens(place: RecordPlace): Promise<boolean> {
    const key = `${place.pack}/${place.offset}`;
    let opening = this.#opened.get(key);
    if (!opening) {
      if (this.#opened.size >= 1 << 16) this.#opened.clear();
      opening = this.#openAndMark(place);
      this.#opened.set(key, opening);
    }
    return opening;
  }

  async #openAndMark(place: RecordPlace): Promise<boolean> {
    const good = await this.#checkRecord(place.pack, { offset: place.offset, length: place.length, kind: "chunk", items: [] });
    if (!good) await this.#quarantine({ pack: place.pack, records: [place.offset], whole: false });
    return good;
  }
}
