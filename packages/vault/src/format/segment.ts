import { randomBytes } from "node:crypto";
import { VaultError } from "../errors.ts";
import { encodeHeader, headerLength, ObjectCipher, tagLength } from "./envelope.ts";
import { nameLength } from "./names.ts";
import { limits, objectName, type PackKind } from "./objects.ts";

/** Index segments; docs/formats/vault.md, section 7. */
export const entryLength = 36;
export const blockEntries = 256;
export const blockLength: number = blockEntries * entryLength + tagLength;
export const segmentPrefix: number = headerLength + 8;
const packLength = 40;
const fixedLength = 16;
const bitsPerEntry = 11;
const lineBytes = 64;

export interface IndexedPack {
  /** The object's name. */
  readonly name: string;
  readonly tableOffset: number;
  readonly tableLength: number;
}

/** The first frame of a segment, kept in memory: about 1.5 bytes per entry. */
export interface SegmentHead {
  readonly entries: number;
  readonly packs: readonly IndexedPack[];
  /** First 8 bytes of the first name of each block. */
  readonly fences: Uint8Array;
  readonly filter: Uint8Array;
}

const buckets = 1 << 16;

/**
 * The entries' numbers in the order of their names. Names are uniform, so that after one pass over their
 * first two bytes hardly anything is left to compare.
 */
function orderOf(entries: Uint8Array): Uint32Array {
  const count = entries.length / entryLength;
  const starts = new Uint32Array(buckets + 1);
  const bucketOf = (entry: number): number => (entries[entry * entryLength]! << 8) | entries[entry * entryLength + 1]!;
  for (let entry = 0; entry < count; entry += 1) starts[bucketOf(entry) + 1]! += 1;
  for (let bucket = 0; bucket < buckets; bucket += 1) starts[bucket + 1]! += starts[bucket]!;
  const order = new Uint32Array(count);
  const next = starts.slice();
  for (let entry = 0; entry < count; entry += 1) {
    const bucket = bucketOf(entry);
    order[next[bucket]!] = entry;
    next[bucket]! += 1;
  }
  const compare = (a: number, b: number): number => compareNames(entries, a * entryLength, b * entryLength);
  for (let bucket = 0; bucket < buckets; bucket += 1) {
    const [from, to] = [starts[bucket]!, starts[bucket + 1]!];
    if (to - from > 16) order.subarray(from, to).sort(compare);
    else insertionSort(order, from, to, compare);
  }
  return order;
}

function compareNames(entries: Uint8Array, a: number, b: number): number {
  for (let i = 0; i < nameLength; i += 1) if (entries[a + i] !== entries[b + i]) return entries[a + i]! - entries[b + i]!;
  return 0;
}

function insertionSort(order: Uint32Array, from: number, to: number, compare: (a: number, b: number) => number): void {
  for (let i = from + 1; i < to; i += 1) {
    const entry = order[i]!;
    let at = i;
    for (; at > from && compare(order[at - 1]!, entry) > 0; at -= 1) order[at] = order[at - 1]!;
    order[at] = entry;
  }
}

/**
 * A whole segment out of `entries` (entryLength bytes each, in any order unless `sorted`, with pack numbers
 * that refer to `packs`), as it goes to the store under {@link objectName.index}.
 */
export function encodeSegment(
  keys: { readonly epoch: number; readonly key: Uint8Array },
  batch: string,
  packs: readonly IndexedPack[],
  entries: Uint8Array,
  { sorted = false }: { readonly sorted?: boolean } = {},
): Uint8Array {
  const count = entries.length / entryLength;
  const order = sorted ? Uint32Array.from({ length: count }, (_, i) => i) : orderOf(entries);
  const blocks = Math.ceil(count / blockEntries);
  const head = encodeHead(packs, entries, order, blocks);
  const total = segmentPrefix + head.length + tagLength + count * entryLength + blocks * tagLength;
  if (total > limits.indexBytes) throw new VaultError("invalid", `an index segment of ${count} entries is too large`);
  const object = Buffer.alloc(total);
  object.set(encodeHeader({ kind: "INDX", epoch: keys.epoch, salt: randomBytes(16) }));
  object.writeUInt32LE(head.length + tagLength, headerLength);
  const cipher = new ObjectCipher(keys.key, object.subarray(0, headerLength), objectName.index(batch));
  let at = cipher.seal([head], object, segmentPrefix);
  const ordered = Buffer.alloc(blockEntries * entryLength);
  for (let first = 0; first < count; first += blockEntries) {
    const here = Math.min(blockEntries, count - first);
    for (let i = 0; i < here; i += 1) {
      const from = order[first + i]! * entryLength;
      ordered.set(entries.subarray(from, from + entryLength), i * entryLength);
    }
    at = cipher.seal([ordered.subarray(0, here * entryLength)], object, at);
  }
  return object;
}

function encodeHead(packs: readonly IndexedPack[], entries: Uint8Array, order: Uint32Array, blocks: number): Buffer {
  const lines = Math.ceil((order.length * bitsPerEntry) / (lineBytes * 8));
  const fences = fixedLength + packs.length * packLength;
  const head = Buffer.alloc(fences + blocks * 8 + lines * lineBytes);
  [order.length, packs.length, blocks, lines * lineBytes].forEach((value, i) => head.writeUInt32LE(value, i * 4));
  packs.forEach((pack, i) => encodePack(pack, head.subarray(fixedLength + i * packLength)));
  for (let block = 0; block < blocks; block += 1) {
    const from = order[block * blockEntries]! * entryLength;
    head.set(entries.subarray(from, from + 8), fences + block * 8);
  }
  const filter = head.subarray(fences + blocks * 8);
  for (let at = 0; at < entries.length; at += entryLength) addToFilter(filter, entries, at);
  return head;
}

function encodePack(pack: IndexedPack, into: Buffer): void {
  const [kind, batch, id] = pack.name.split("/");
  into.write(batch!, 0, "hex");
  into[10] = kind === "data" ? 0 : 1;
  into.write(id!, 12, "hex");
  into.writeUInt32LE(pack.tableOffset, 28);
  into.writeUInt32LE(pack.tableLength, 32);
}

/** The length of the first frame, from the first {@link segmentPrefix} bytes. Throws `corrupt`. */
export function parseSegmentPrefix(prefix: Uint8Array, name: string): number {
  const view = Buffer.from(prefix.buffer, prefix.byteOffset, prefix.byteLength);
  const length = view.length < segmentPrefix ? 0 : view.readUInt32LE(headerLength);
  if (length < fixedLength + tagLength || length > limits.indexBytes || view.readUInt32LE(headerLength + 4) !== 0) {
    throw new VaultError("corrupt", `${name} does not start like an index segment`, { object: name });
  }
  return length;
}

/** Throws `corrupt`. */
export function parseSegmentHead(head: Buffer, name: string): SegmentHead {
  const corrupt = (): VaultError => new VaultError("corrupt", `the head of ${name} makes no sense`, { object: name });
  if (head.length < fixedLength) throw corrupt();
  const [entries, packs, blocks, filter] = [0, 4, 8, 12].map((at) => head.readUInt32LE(at)) as [number, number, number, number];
  const fences = fixedLength + packs * packLength;
  if (head.length !== fences + blocks * 8 + filter || blocks !== Math.ceil(entries / blockEntries) || filter % lineBytes !== 0)
    throw corrupt();
  return {
    entries,
    packs: Array.from({ length: packs }, (_, i) => parsePack(head.subarray(fixedLength + i * packLength), corrupt)),
    fences: head.subarray(fences, fences + blocks * 8),
    filter: head.subarray(fences + blocks * 8),
  };
}

function parsePack(bytes: Buffer, corrupt: () => VaultError): IndexedPack {
  const kind: PackKind | undefined = bytes[10] === 0 ? "data" : bytes[10] === 1 ? "tree" : undefined;
  const tableOffset = bytes.readUInt32LE(28);
  const tableLength = bytes.readUInt32LE(32);
  if (kind === undefined || tableOffset + tableLength > limits.packBytes) throw corrupt();
  return { name: objectName.pack(kind, bytes.toString("hex", 0, 10), bytes.toString("hex", 12, 28)), tableOffset, tableLength };
}

function filterLine(filter: Uint8Array, names: Uint8Array, at: number): number {
  const high = names[at]! + names[at + 1]! * 0x100 + names[at + 2]! * 0x10000 + names[at + 3]! * 0x1000000;
  return Math.floor((high * (filter.length / lineBytes)) / 0x1_0000_0000) * lineBytes;
}

function addToFilter(filter: Uint8Array, names: Uint8Array, at: number): void {
  const line = filterLine(filter, names, at);
  for (let i = 4; i < 16; i += 2) {
    const bit = (names[at + i]! | (names[at + i + 1]! << 8)) & 511;
    filter[line + (bit >> 3)]! |= 1 << (bit & 7);
  }
}

/** False when the name at `at` of `names` is certainly not in the segment. */
export function mayContain(head: SegmentHead, names: Uint8Array, at: number): boolean {
  if (head.entries === 0) return false;
  if (head.filter.length === 0) return true;
  const line = filterLine(head.filter, names, at);
  for (let i = 4; i < 16; i += 2) {
    const bit = (names[at + i]! | (names[at + i + 1]! << 8)) & 511;
    if ((head.filter[line + (bit >> 3)]! & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}

/** The first and last block that may hold the name (several only where the first 8 bytes of names are equal). */
export function blocksOf(head: SegmentHead, name: Uint8Array): { first: number; last: number } {
  const fences = Buffer.from(head.fences.buffer, head.fences.byteOffset, head.fences.byteLength);
  const key = Buffer.from(name.buffer, name.byteOffset, 8);
  const blocks = fences.length / 8;
  const above = (limit: number): number => {
    let [low, high] = [0, blocks];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (fences.compare(key, 0, 8, middle * 8, middle * 8 + 8) < limit) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return { first: Math.max(0, above(0) - 1), last: above(1) - 1 };
}

/** The position of `name` in a block's entries, or -1. */
export function findEntry(block: Buffer, name: Uint8Array): number {
  let [low, high] = [0, Math.floor(block.length / entryLength) - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    const order = block.compare(name, 0, nameLength, middle * entryLength, middle * entryLength + nameLength);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
