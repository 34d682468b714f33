import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { VaultError } from "../errors.ts";
import { headerLength, type ObjectCipher } from "../format/envelope.ts";
import { nameLength, sameName } from "../format/names.ts";
import { limits } from "../format/objects.ts";
import { type Item, decodeRecord } from "../format/record.ts";
import { release } from "../format/release.ts";
import type { CarryOrder, CarrySource, LostChunk } from "./protocol.ts";

const maxOpen = 8;
/** Room for the records of our writers, and the byte more that the decoder asks for. */
const usualBytes = (256 << 10) + 64;

export interface Carried {
  readonly writtenBytes: number;
  readonly lost: readonly LostChunk[];
}

type CipherOf = (pack: string, header: () => Uint8Array) => ObjectCipher;

/** Chunks that are neighbours in a record and on the disk: written together. */
interface Run {
  readonly chunk: number;
  chunks: number;
  readonly start: number;
  end: number;
}

/** Takes records to a file, all on one thread: read, unseal, unpack, write. */
export class Carrier {
  readonly #grid: number;
  readonly #cipherOf: CipherOf;
  /** Packs open for reading; they never change, and what is read of one is checked by its seal. */
  readonly #files = new Map<string, number>();
  #frame = new Uint8Array(usualBytes);
  #payload = new Uint8Array(usualBytes);

  constructor(grid: number, cipherOf: CipherOf) {
    this.#grid = grid;
    this.#cipherOf = cipherOf;
  }

  carry(order: CarryOrder): Carried {
    const lost: LostChunk[] = [];
    let writtenBytes = 0;
    let first = 0;
    for (const { offset, length, count } of order.records) {
      const wanted = { first, count };
      first += count;
      const opened = this.#tryOpen(order, { offset, length });
      if ("message" in opened) {
        for (let i = 0; i < count; i += 1) lost.push({ ...opened, index: wanted.first + i });
        continue;
      }
      const { runs, missing } = this.#runsOf(order, opened.items, wanted);
      for (const index of missing)
        lost.push({ index, kind: "corrupt", message: `${order.pack} does not hold the chunk that the index says` });
      for (const { chunk, start, end } of runs) writeFully(order.to.fd, opened.payload.subarray(start, end), chunk * this.#grid);
      writtenBytes += runs.reduce((sum, { start, end }) => sum + end - start, 0);
      release(opened.content);
    }
    return { writtenBytes, lost };
  }

  /** The record, or what was wrong with it: damage, or a file that could not be read. */
  #tryOpen(
    order: CarryOrder,
    place: { readonly offset: number; readonly length: number },
  ): { items: readonly Item[]; payload: Uint8Array; content: Uint8Array } | Omit<LostChunk, "index"> {
    const { pack, from } = order;
    try {
      const cipher = this.#cipherOf(pack, () => this.#headerOf(pack, from));
      const content = cipher.open(this.#frameOf(order, place), place.offset);
      const { kind, items, payload } = decodeRecord(content, pack, this.#payload);
      if (kind !== "chunk") throw new VaultError("corrupt", `${pack} holds nodes where chunks should be`);
      return { items, payload, content };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (error instanceof VaultError) return { kind: error.kind, message };
      if (code === undefined) throw error;
      return code === "ENOENT" ? { kind: "missing", message: `${pack} is gone from the store` } : { kind: "", message };
    }
  }

  #frameOf({ pack, from }: CarryOrder, { offset, length }: { readonly offset: number; readonly length: number }): Uint8Array {
    const cut = (): VaultError => new VaultError("corrupt", `${pack} is cut before byte ${offset + length}`);
    if ("memory" in from) {
      if (offset + length > from.start + from.length) throw cut();
      return new Uint8Array(from.memory, offset - from.start, length);
    }
    if (length > limits.recordBytes + (16 << 10)) throw new VaultError("corrupt", `the index tells of a record of ${length} bytes`);
    if (this.#frame.length < length) this.#frame = new Uint8Array(length);
    const frame = this.#frame.subarray(0, length);
    if (readFully(this.#fileOf(from.path), frame, offset) < length) throw cut();
    return frame;
  }

  #headerOf(pack: string, from: CarrySource): Uint8Array {
    if ("memory" in from) return from.header;
    const header = new Uint8Array(headerLength);
    if (readFully(this.#fileOf(from.path), header, 0) < headerLength)
      throw new VaultError("corrupt", `${pack} is cut before its header ends`);
    return header;
  }

  #fileOf(path: string): number {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const oldest = this.#files.entries().next();
    if (this.#files.size >= maxOpen && !oldest.done) {
      this.#files.delete(oldest.value[0]);
      closeSync(oldest.value[1]);
    }
    const file = openSync(path, "r");
    this.#files.set(path, file);
    return file;
  }

  #runsOf(
    order: CarryOrder,
    items: readonly Item[],
    { first, count }: { first: number; count: number },
  ): { runs: Run[]; missing: number[] } {
    const runs: Run[] = [];
    const missing: number[] = [];
    for (let index = first, next = 0; index < first + count; index += 1) {
      const chunk = order.chunks[index]!;
      const at = findItem(items, order.names, index * nameLength, next);
      const item = items[at];
      if (item?.length !== Math.min(this.#grid, order.to.size - chunk * this.#grid)) {
        missing.push(index);
        continue;
      }
      next = at + 1;
      const run = runs.at(-1);
      if (run && run.chunk + run.chunks === chunk && run.end === item.offset) {
        run.chunks += 1;
        run.end += item.length;
      } else runs.push({ chunk, chunks: 1, start: item.offset, end: item.offset + item.length });
    }
    return { runs, missing };
  }
}

/** Mostly the item at `likely`, as chunks are asked for in the order in which they were stored. */
function findItem(items: readonly Item[], names: Uint8Array, at: number, likely: number): number {
  const guess = items[likely];
  if (guess && sameName(guess.name, 0, names, at)) return likely;
  return items.findIndex(({ name }) => sameName(name, 0, names, at));
}

/** The bytes that were read: fewer only where the file ends. */
export function readFully(fd: number, into: Uint8Array, offset: number): number {
  let done = 0;
  while (done < into.length) {
    const got = readSync(fd, into, done, into.length - done, offset + done);
    if (got === 0) break;
    done += got;
  }
  return done;
}

function writeFully(fd: number, data: Uint8Array, offset: number): void {
  for (let done = 0; done < data.length;) done += writeSync(fd, data, done, data.length - done, offset + done);
}
