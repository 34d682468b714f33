import { type FileHandle, open } from "node:fs/promises";
import type { Extent } from "@godwit/core";
import type { RangedSource } from "../server/export.ts";
import { zeroRuns } from "../zeroes.ts";
import { checkRange, ioError, readFully } from "./file-io.ts";

/** Zeros are told from data in blocks of this size. */
const BLOCK = 64 << 10;
const SCAN_STEP = 1 << 20;
/** `extentsIn` looks through this much and then leaves the rest to the next call. */
const SCAN_LIMIT = 64 << 20;

/**
 * A raw image as a source; it must not change while it is open. Node cannot ask a file for its holes
 * (no SEEK_HOLE, no FIEMAP), so zeros are found by reading. A file without holes, by its allocated
 * blocks, is taken as data throughout: reading it only to look for zeros would cost as much as using it.
 * The opposite short-cut, no blocks means all zeros, would be wrong on file systems that allocate late.
 */
export async function openRawFile(path: string): Promise<RangedSource> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const { size, blocks } = await file.stat();
    return new RawFile(file, path, { size, sparse: blocks * 512 < size });
  } catch (error) {
    await file?.close();
    throw ioError("open", path, 0, error);
  }
}

class RawFile implements RangedSource {
  readonly size: number;
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #sparse: boolean;

  constructor(file: FileHandle, path: string, facts: { readonly size: number; readonly sparse: boolean }) {
    this.#file = file;
    this.#path = path;
    this.size = facts.size;
    this.#sparse = facts.sparse;
  }

  async *extents({ signal }: { signal: AbortSignal }): AsyncGenerator<Extent, void, undefined> {
    yield* this.#scan(0, this.size, signal);
  }

  async *extentsIn(offset: number, length: number, { signal }: { signal: AbortSignal }): AsyncGenerator<Extent, void, undefined> {
    yield* this.#scan(offset, Math.min(length, this.#sparse ? SCAN_LIMIT : length), signal);
  }

  async read(offset: number, into: Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    checkRange("read", { offset, length: into.length, size: this.size }, this.#path);
    signal.throwIfAborted();
    await readFully(this.#file, this.#path, into, offset);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async *#scan(offset: number, length: number, signal: AbortSignal): AsyncGenerator<Extent, void, undefined> {
    checkRange("scan", { offset, length, size: this.size }, this.#path);
    signal.throwIfAborted();
    if (length === 0) return;
    if (this.#sparse) yield* this.#look(offset, length, signal);
    else yield { offset, length, kind: "data" };
  }

  /** Tells zeros from data by reading. */
  async *#look(offset: number, length: number, signal: AbortSignal): AsyncGenerator<Extent, void, undefined> {
    const buffer = Buffer.allocUnsafeSlow(Math.min(length, SCAN_STEP));
    let run: { offset: number; length: number; kind: "data" | "zero" } | undefined;
    for (let at = offset; at < offset + length;) {
      const step = Math.min(SCAN_STEP - (at % SCAN_STEP), offset + length - at);
      const piece = buffer.subarray(0, Math.min(step, buffer.length));
      await this.read(at, piece, { signal });
      for (const { start, end, zero } of zeroRuns(piece, at, BLOCK)) {
        const kind = zero ? "zero" : "data";
        if (run?.kind === kind) run.length += end - start;
        else {
          if (run) yield run;
          run = { offset: at + start, length: end - start, kind };
        }
      }
      at += piece.length;
    }
    if (run) yield run;
  }
}
