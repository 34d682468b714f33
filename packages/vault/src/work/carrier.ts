import { writeSync } from "node:fs";
import { VaultError } from "../errors.ts";
import { nameLength, sameName } from "../format/names.ts";
import type { Item } from "../format/record.ts";
import type { Opened, PackReader } from "./pack-reader.ts";
import type { CarryOrder, LostChunk } from "./protocol.ts";

/** Room for the records of our writers, and the byte more that the decoder asks for. */
const usualBytes = (256 << 10) + 64;

export interface Carried {
  readonly writtenBytes: number;
  readonly lost: readonly LostChunk[];
}

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
  readonly #reader: PackReader;
  readonly #payload = new Uint8Array(usualBytes);

  constructor(grid: number, reader: PackReader) {
    this.#grid = grid;
    this.#reader = reader;
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
    }
    return { writtenBytes, lost };
  }

  /** The record, or what was wrong with it: damage, or a file that could not be read. */
  #tryOpen(order: CarryOrder, place: { readonly offset: number; readonly length: number }): Opened | Omit<LostChunk, "index"> {
    try {
      return this.#reader.open(order, place, this.#payload);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (error instanceof VaultError) return { kind: error.kind, message };
      if (code === undefined) throw error;
      return { kind: "", message };
    }
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

function writeFully(fd: number, data: Uint8Array, offset: number): void {
  for (let done = 0; done < data.length;) {
    try {
      done += writeSync(fd, data, done, data.length - done, offset + done);
    } catch (error) {
      throw Object.assign(error as Error, { offset: offset + done });
    }
  }
}
