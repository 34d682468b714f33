import { randomBytes } from "node:crypto";
import { VaultError } from "../errors.ts";
import { encodeHeader, headerLength, ObjectCipher, tagLength } from "./envelope.ts";
import { hex, nameLength } from "./names.ts";
import { limits, objectName, type PackKind } from "./objects.ts";
import { encodeRecord, itemLength, type ItemKind } from "./record.ts";

/** Packs; docs/formats/vault.md, section 5. */
export const trailerLength = 16;
const recordEntryLength = 12;
const trailerMagic = "GWVTPEND";

/** Entries of a pack for the index: per item name (24), record offset (4), frame length (4). */
export const packEntryLength = 32;

export interface FinishedPack {
  /** The object's name. */
  readonly name: string;
  /** The pack is the first `length` bytes. */
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly length: number;
  readonly tableOffset: number;
  readonly tableLength: number;
  /** Multiple of {@link packEntryLength} bytes. */
  readonly entries: Uint8Array<ArrayBuffer>;
}

interface PackKeys {
  readonly epoch: number;
  readonly key: Uint8Array;
}

/** Bytes that a record of `items` items and `bytes` of payload takes at most, with its share of the table. */
function recordBound(items: number, bytes: number): number {
  return 8 + items * itemLength * 2 + bytes + tagLength + recordEntryLength;
}

/** Fills one pack in memory. */
export class PackBuilder {
  readonly name: string;
  readonly #kind: ItemKind;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  readonly #cipher: ObjectCipher;
  readonly #records: { offset: number; length: number; items: readonly { name: Uint8Array; length: number }[] }[] = [];
  #at = headerLength;
  #tableBytes = 8;

  constructor(kind: PackKind, batch: string, keys: PackKeys, buffer: Uint8Array<ArrayBuffer>) {
    const salt = randomBytes(16);
    this.name = objectName.pack(kind, batch, hex(salt));
    this.#kind = kind === "data" ? "chunk" : "node";
    this.#buffer = buffer;
    const header = encodeHeader({ kind: "PACK", epoch: keys.epoch, salt });
    buffer.set(header);
    this.#cipher = new ObjectCipher(keys.key, header, this.name);
  }

  get empty(): boolean {
    return this.#records.length === 0;
  }

  fits(items: number, bytes: number): boolean {
    return this.#at + this.#tableBytes + recordBound(items, bytes) + tagLength + trailerLength <= this.#buffer.length;
  }

  /** The caller has asked {@link fits}. */
  add(items: readonly { readonly name: Uint8Array; readonly length: number }[], payload: Uint8Array, level: number): void {
    const offset = this.#at;
    this.#at = this.#cipher.seal(encodeRecord(this.#kind, items, payload, level), this.#buffer, offset);
    this.#records.push({ offset, length: this.#at - offset, items });
    this.#tableBytes += recordEntryLength + items.length * itemLength;
  }

  finish(): FinishedPack {
    const table = this.#table();
    const tableOffset = this.#at;
    const end = this.#cipher.seal([table], this.#buffer, tableOffset);
    const trailer = Buffer.alloc(trailerLength);
    trailer.writeUInt32LE(tableOffset, 0);
    trailer.writeUInt32LE(end - tableOffset, 4);
    trailer.write(trailerMagic, 8, "latin1");
    this.#buffer.set(trailer, end);
    const length = end + trailerLength;
    return { name: this.name, buffer: this.#buffer, length, tableOffset, tableLength: end - tableOffset, entries: this.#entries() };
  }

  #table(): Buffer {
    const total = this.#records.reduce((sum, record) => sum + record.items.length, 0);
    const table = Buffer.alloc(8 + this.#records.length * recordEntryLength + total * itemLength);
    table.writeUInt32LE(this.#records.length, 0);
    table.writeUInt32LE(total, 4);
    let at = 8;
    for (const { offset, length, items } of this.#records) {
      table.writeUInt32LE(offset, at);
      table.writeUInt32LE(length, at + 4);
      table.writeUInt16LE(items.length, at + 8);
      table[at + 10] = this.#kind === "chunk" ? 0 : 1;
      at += recordEntryLength;
    }
    for (const { items } of this.#records) {
      for (const { name, length } of items) {
        table.set(name, at);
        table.writeUInt32LE(length, at + nameLength);
        at += itemLength;
      }
    }
    return table;
  }

  #entries(): Uint8Array<ArrayBuffer> {
    const total = this.#records.reduce((sum, record) => sum + record.items.length, 0);
    const entries = new Uint8Array(total * packEntryLength);
    const view = new DataView(entries.buffer);
    let at = 0;
    for (const { offset, length, items } of this.#records) {
      for (const { name } of items) {
        entries.set(name, at);
        view.setUint32(at + nameLength, offset, true);
        view.setUint32(at + nameLength + 4, length, true);
        at += packEntryLength;
      }
    }
    return entries;
  }
}

export interface TableRecord {
  readonly offset: number;
  readonly length: number;
  readonly kind: ItemKind;
  readonly items: readonly { readonly name: Uint8Array; readonly length: number }[];
}

/** Where a pack's table is, from its last {@link trailerLength} bytes. Throws `corrupt`. */
export function parseTrailer(trailer: Uint8Array, packLength: number, name: string): { offset: number; length: number } {
  const view = Buffer.from(trailer.buffer, trailer.byteOffset, trailer.byteLength);
  const whole = view.length === trailerLength && view.toString("latin1", 8) === trailerMagic;
  const offset = whole ? view.readUInt32LE(0) : 0;
  const length = whole ? view.readUInt32LE(4) : 0;
  if (packLength > limits.packBytes || offset < headerLength || length < tagLength + 8 || offset + length + trailerLength !== packLength) {
    throw new VaultError("corrupt", `${name} does not end like a pack: it is cut or damaged`, { object: name });
  }
  return { offset, length };
}

/** Throws `corrupt`. Records are checked to lie between the header and `tableOffset`. */
export function parseTable(table: Buffer, tableOffset: number, name: string): TableRecord[] {
  const corrupt = (why: string): VaultError => new VaultError("corrupt", `the table of ${name} makes no sense: ${why}`, { object: name });
  if (table.length < 8) throw corrupt("too short");
  const count = table.readUInt32LE(0);
  const total = table.readUInt32LE(4);
  if (table.length !== 8 + count * recordEntryLength + total * itemLength) throw corrupt(`${count} records, ${total} items`);
  const records: TableRecord[] = [];
  let item = 8 + count * recordEntryLength;
  for (let i = 0, at = 8; i < count; i += 1, at += recordEntryLength) {
    const offset = table.readUInt32LE(at);
    const length = table.readUInt32LE(at + 4);
    const items = table.readUInt16LE(at + 8);
    const kind = table[at + 10]!;
    if (offset < headerLength || length <= tagLength || offset + length > tableOffset) throw corrupt(`record ${i} lies outside`);
    if (items < 1 || items > limits.recordItems || kind > 1 || item + items * itemLength > table.length) throw corrupt(`record ${i}`);
    const end = item + items * itemLength;
    const names: { name: Uint8Array; length: number }[] = [];
    for (; item < end; item += itemLength) {
      names.push({ name: table.subarray(item, item + nameLength), length: table.readUInt32LE(item + nameLength) });
    }
    records.push({ offset, length, kind: kind === 0 ? "chunk" : "node", items: names });
  }
  if (item !== table.length) throw corrupt("items are left over");
  return records;
}
