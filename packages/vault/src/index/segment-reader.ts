import { VaultError } from "../errors.ts";
import { headerLength, isVoid, ObjectCipher, parseHeader, tagLength } from "../format/envelope.ts";
import {
  blockEntries,
  blockLength,
  blocksOf,
  entryLength,
  findEntry,
  type IndexedPack,
  mayContain,
  parseSegmentHead,
  parseSegmentPrefix,
  type SegmentHead,
  segmentPrefix,
} from "../format/segment.ts";
import { nameLength } from "../format/names.ts";
import { objectName, type RecordPlace } from "../format/objects.ts";
import type { KeyRing } from "../keys/ring.ts";
import type { BlobStore } from "../store/blob-store.ts";
import type { BlockCache } from "./block-cache.ts";

const firstRead = 64 << 10;
const streamedBlocks = 112;

/** What a lookup finds: a record, and the pack with its table. */
export interface Located extends RecordPlace {
  readonly indexed: IndexedPack;
}

/** One index segment: its head in memory, its blocks read when asked for. */
export class SegmentReader {
  readonly batch: string;
  readonly head: SegmentHead;
  /** Whose key seals it. */
  readonly epoch: number;
  readonly #store: BlobStore;
  readonly #cipher: ObjectCipher;
  readonly #blocksAt: number;
  readonly #cache: BlockCache;

  private constructor(
    batch: string,
    store: BlobStore,
    cache: BlockCache,
    parts: { head: SegmentHead; cipher: ObjectCipher; at: number; epoch: number },
  ) {
    this.batch = batch;
    this.head = parts.head;
    this.epoch = parts.epoch;
    this.#store = store;
    this.#cipher = parts.cipher;
    this.#blocksAt = parts.at;
    this.#cache = cache;
  }

  /** Undefined for a void, which keeps the name of a batch from being used. Throws `corrupt`; a store's `not-found` when it is gone. */
  static async open(
    batch: string,
    context: { readonly store: BlobStore; readonly keys: KeyRing; readonly cache: BlockCache },
    signal: AbortSignal,
  ): Promise<SegmentReader | undefined> {
    const { store, keys, cache } = context;
    const name = objectName.index(batch);
    const first = new Uint8Array(firstRead);
    const got = first.subarray(0, await store.read(name, 0, first, { signal }));
    if (isVoid(got)) return undefined;
    const header = parseHeader(got, "INDX", name);
    const frameLength = parseSegmentPrefix(got, name);
    let frame = got.subarray(segmentPrefix, segmentPrefix + frameLength);
    if (frame.length < frameLength) {
      const info = await store.stat(name, { signal });
      const cut = new VaultError("corrupt", `${name} is cut`, { object: name });
      if (!info || info.size < segmentPrefix + frameLength) throw cut;
      frame = new Uint8Array(frameLength);
      if ((await store.read(name, segmentPrefix, frame, { signal })) !== frameLength) throw cut;
    }
    return SegmentReader.#of(batch, { store, cache, key: keys.keyOf(header.epoch) }, got, frame);
  }

  /** Of a segment that this process has just stored, and therefore need not read. */
  static ofStored(
    batch: string,
    segment: Uint8Array,
    { store, keys, cache }: { readonly store: BlobStore; readonly keys: KeyRing; readonly cache: BlockCache },
  ): SegmentReader {
    const name = objectName.index(batch);
    const frame = segment.subarray(segmentPrefix, segmentPrefix + parseSegmentPrefix(segment, name));
    return SegmentReader.#of(batch, { store, cache, key: keys.keyOf(parseHeader(segment, "INDX", name).epoch) }, segment, frame);
  }

  static #of(
    batch: string,
    { store, cache, key }: { readonly store: BlobStore; readonly cache: BlockCache; readonly key: Uint8Array },
    start: Uint8Array,
    frame: Uint8Array,
  ): SegmentReader {
    const name = objectName.index(batch);
    const header = Uint8Array.from(start.subarray(0, headerLength));
    const cipher = new ObjectCipher(key, header, name);
    const head = parseSegmentHead(cipher.open(frame, segmentPrefix), name);
    const { epoch } = parseHeader(header, "INDX", name);
    return new SegmentReader(batch, store, cache, { head, cipher, at: segmentPrefix + frame.length, epoch });
  }

  mayContain(names: Uint8Array, at: number): boolean {
    return mayContain(this.head, names, at);
  }

  async find(name: Uint8Array, signal: AbortSignal): Promise<Located | undefined> {
    const { first, last } = blocksOf(this.head, name);
    for (let number = first; number <= last; number += 1) {
      const block = await this.block(number, signal);
      const entry = findEntry(block, name);
      if (entry >= 0) return this.#located(block, entry);
    }
    return undefined;
  }

  /** The entries of a block, {@link entryLength} bytes each. */
  async block(number: number, signal: AbortSignal): Promise<Buffer> {
    const key = `${this.batch}/${number}`;
    const cached = this.#cache.get(key);
    if (cached) return cached;
    const [block] = this.#open(number, number, await this.#read(number, number, signal));
    this.#cache.set(key, block!);
    return block!;
  }

  /** Blocks `first` to `last` (included), about a mebibyte a read and one read ahead; none is kept. */
  async *stream(first: number, last: number, signal: AbortSignal): AsyncGenerator<{ readonly number: number; readonly block: Buffer }> {
    const endOf = (from: number): number => Math.min(last, from + streamedBlocks - 1);
    const start = (from: number): Promise<Uint8Array> | undefined => {
      const reading = from <= last ? this.#read(from, endOf(from), signal) : undefined;
      reading?.catch(() => undefined);
      return reading;
    };
    let reading = start(first);
    for (let from = first; reading; from += streamedBlocks) {
      const frames = await reading;
      reading = start(from + streamedBlocks);
      for (const [i, block] of this.#open(from, endOf(from), frames).entries()) yield { number: from + i, block };
    }
  }

  async #read(first: number, last: number, signal: AbortSignal): Promise<Uint8Array> {
    const entries = Math.min(this.head.entries, (last + 1) * blockEntries) - first * blockEntries;
    const frames = new Uint8Array(entries * entryLength + (last - first + 1) * tagLength);
    await this.#store.read(objectName.index(this.batch), this.#blocksAt + first * blockLength, frames, { signal });
    return frames;
  }

  #open(first: number, last: number, frames: Uint8Array): Buffer[] {
    const blocks: Buffer[] = [];
    for (let at = 0; first + blocks.length <= last; at += blockLength) {
      blocks.push(this.#cipher.open(frames.subarray(at, at + blockLength), this.#blocksAt + first * blockLength + at));
    }
    return blocks;
  }

  /** The number of a block's first entry in the whole segment. */
  ordinalOf(block: number): number {
    return block * blockEntries;
  }

  /** The number of the name's entry in the whole segment, or -1. */
  async ordinalOfName(name: Uint8Array, signal: AbortSignal): Promise<number> {
    const { first, last } = blocksOf(this.head, name);
    for (let number = first; number <= last; number += 1) {
      const entry = findEntry(await this.block(number, signal), name);
      if (entry >= 0) return this.ordinalOf(number) + entry;
    }
    return -1;
  }

  /** The blocks that may hold names whose first two bytes are `from` (included) to `to` (not included). */
  blocksBetween(from: number, to: number): { readonly first: number; readonly last: number } {
    const { fences } = this.head;
    const prefixOf = (block: number): number => (fences[block * 8]! << 8) | fences[block * 8 + 1]!;
    let first = 0;
    while (first + 1 < this.blocks && prefixOf(first + 1) < from) first += 1;
    let last = first;
    while (last + 1 < this.blocks && prefixOf(last + 1) < to) last += 1;
    return { first, last: this.blocks === 0 ? -1 : last };
  }

  get blocks(): number {
    return this.head.fences.length / 8;
  }

  /** The records of one of the segment's packs that a block mentions. */
  *recordsOf(pack: number, block: Buffer): Generator<{ readonly offset: number; readonly length: number }> {
    for (let at = nameLength; at < block.length; at += entryLength) {
      if (block.readUInt32LE(at) === pack) yield { offset: block.readUInt32LE(at + 4), length: block.readUInt32LE(at + 8) };
    }
  }

  #located(block: Buffer, entry: number): Located {
    const at = entry * entryLength + nameLength;
    const indexed = this.head.packs[block.readUInt32LE(at)];
    if (!indexed) throw new VaultError("corrupt", `index ${this.batch} refers to a pack it does not list`, { batch: this.batch });
    return { indexed, pack: indexed.name, offset: block.readUInt32LE(at + 4), length: block.readUInt32LE(at + 8) };
  }
}
