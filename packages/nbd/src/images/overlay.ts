import { type FileHandle, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import type { BlockSource, Extent } from "@godwit/core";
import { BlockError } from "@godwit/core";
import { RangeLock } from "../range-lock.ts";
import { isRanged, type RangedSource, type TrimmingSink } from "../server/export.ts";
import { ExtentIndex } from "../server/extent-index.ts";
import { checkRange, ioError, readFully, syncFile, writeFully } from "./file-io.ts";
import {
  checkHeader,
  CLUSTER,
  type ClusterState,
  encodeHeader,
  HEADER_LENGTH,
  layoutOf,
  MAP_PAGE,
  OverlayMap,
  type OverlayLayout,
} from "./overlay-map.ts";

/** A writable disk over a base that is never touched. Both a source and a sink. */
export type Overlay = RangedSource & TrimmingSink;

export interface OverlayOptions {
  /** What the base is, for example a recovery point's id; an existing file over another one is refused. */
  readonly baseId?: string;
}

/**
 * Opens or creates the overlay in `file`. What was flushed is there again after a crash; what was not may or
 * may not be, write by write. The overlay borrows the base; disposing flushes. One process at a time may have
 * the file open: nothing checks that.
 */
export async function openOverlay(base: BlockSource, file: string, { baseId = "" }: OverlayOptions = {}): Promise<Overlay> {
  const layout = layoutOf(base.size, baseId);
  const handle = await openOrCreate(file, layout);
  try {
    const header = Buffer.alloc(HEADER_LENGTH);
    await readFully(handle, file, header, 0);
    checkHeader(header, layout, file);
    const bits = new Uint8Array(layout.mapLength);
    await readFully(handle, file, bits, HEADER_LENGTH);
    return new OverlayImage(base, { handle, path: file, layout, map: new OverlayMap(bits) });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** A new file gets its name only when it is whole. */
async function openOrCreate(path: string, layout: OverlayLayout): Promise<FileHandle> {
  try {
    return await open(path, "r+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw ioError("open", path, 0, error);
  }
  const unfinished = `${path}.new`;
  try {
    const handle = await open(unfinished, "w+");
    await handle.truncate(layout.dataOffset + layout.clusters * CLUSTER);
    await writeFully(handle, unfinished, encodeHeader(layout), 0);
    await handle.sync();
    await rename(unfinished, path);
    await using directory = await open(dirname(path), "r");
    await directory.sync();
    return handle;
  } catch (error) {
    throw ioError("create", path, 0, error);
  }
}

interface Parts {
  readonly handle: FileHandle;
  readonly path: string;
  readonly layout: OverlayLayout;
  readonly map: OverlayMap;
}

class OverlayImage implements RangedSource, TrimmingSink {
  readonly size: number;
  readonly #base: BlockSource;
  readonly #baseExtents: Pick<RangedSource, "extentsIn">;
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #layout: OverlayLayout;
  readonly #map: OverlayMap;
  /** Held, by clusters, by whoever moves clusters into the file. */
  readonly #moving = new RangeLock();
  readonly #closed = new AbortController();
  #flushing: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;

  constructor(base: BlockSource, { handle, path, layout, map }: Parts) {
    this.size = layout.size;
    this.#base = base;
    this.#baseExtents = isRanged(base) ? base : new ExtentIndex(base, { signal: this.#closed.signal });
    this.#handle = handle;
    this.#path = path;
    this.#layout = layout;
    this.#map = map;
  }

  extents({ signal }: { signal: AbortSignal }): AsyncIterable<Extent> {
    return this.extentsIn(0, this.size, { signal });
  }

  async *extentsIn(offset: number, length: number, { signal }: { signal: AbortSignal }): AsyncGenerator<Extent, void, undefined> {
    this.#check("scan", offset, length);
    let last: { offset: number; length: number; kind: Extent["kind"] } | undefined;
    for await (const extent of this.#unjoined(offset, length, signal)) {
      signal.throwIfAborted();
      if (last?.kind === extent.kind) last.length += extent.length;
      else {
        if (last) yield last;
        last = { ...extent };
      }
    }
    if (last) yield last;
  }

  async read(offset: number, into: Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    this.#check("read", offset, into.length);
    signal.throwIfAborted();
    for (const run of this.#runs(offset, into.length))
      await this.#readRun(run.state, run.offset, into.subarray(run.offset - offset, run.offset - offset + run.length), signal);
  }

  async write(offset: number, data: Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    this.#check("write", offset, data.length);
    signal.throwIfAborted();
    if (data.length === 0) return;
    const end = offset + data.length;
    const runs = [...this.#runs(offset, data.length)];
    if (runs.every((run) => run.state === "local")) return await this.#writeLocal(offset, data);
    const [first, last] = [Math.floor(offset / CLUSTER), Math.floor((end - 1) / CLUSTER)];
    using _moving = await this.#moving.acquire(first, last + 1, signal);
    // The rest of the clusters at both ends moves along with the data.
    await this.#fill(first, first * CLUSTER, offset, signal);
    await this.#fill(last, end, Math.min((last + 1) * CLUSTER, this.size), signal);
    await this.#writeLocal(offset, data);
    for (let cluster = first; cluster <= last; cluster += 1) this.#map.set(cluster, "local");
  }

  async writeZeroes(offset: number, length: number, { signal }: { signal: AbortSignal }): Promise<void> {
    this.#check("write of zeros", offset, length);
    signal.throwIfAborted();
    if (length === 0) return;
    const end = offset + length;
    const first = Math.ceil(offset / CLUSTER);
    // The last cluster may end with the disk.
    const last = end === this.size ? this.#layout.clusters : Math.floor(end / CLUSTER);
    if (first >= last) return await this.#writeZeroPart(offset, length, signal);
    if (first * CLUSTER > offset) await this.#writeZeroPart(offset, first * CLUSTER - offset, signal);
    {
      using _moving = await this.#moving.acquire(first, last, signal);
      for (let cluster = first; cluster < last; cluster += 1) this.#map.set(cluster, "zero");
    }
    if (end > last * CLUSTER) await this.#writeZeroPart(last * CLUSTER, end - last * CLUSTER, signal);
  }

  async trim(offset: number, length: number, options: { signal: AbortSignal }): Promise<void> {
    await this.writeZeroes(offset, length, options);
  }

  /**
   * First the data, then the map that points to it: the map on disk never points to what is not there. The system tells
   * once that it could not store something, and forgets it: after that no flush succeeds any more.
   */
  async flush({ signal }: { signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    const turn = this.#flushing.then(async () => {
      if (this.#failure) throw this.#failure.error;
      const pages = this.#map.takeDirty();
      try {
        await this.#store();
        for (const { page, bytes } of pages) await writeFully(this.#handle, this.#path, bytes, HEADER_LENGTH + page * MAP_PAGE);
        if (pages.length > 0) await this.#store();
      } catch (error) {
        this.#map.putBack(pages);
        throw error;
      }
    });
    this.#flushing = turn.catch(() => undefined);
    await turn;
  }

  async #store(): Promise<void> {
    try {
      await syncFile(this.#handle, this.#path);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(new BlockError("io", "the overlay was closed", { path: this.#path }));
    try {
      await this.flush({ signal: new AbortController().signal });
    } finally {
      await this.#handle.close();
    }
  }

  /** Neighbouring clusters in one state, cut to the range. */
  *#runs(offset: number, length: number): Generator<{ state: ClusterState; offset: number; length: number }, void, undefined> {
    const end = offset + length;
    for (let at = offset; at < end;) {
      const state = this.#map.get(Math.floor(at / CLUSTER));
      let stop = (Math.floor(at / CLUSTER) + 1) * CLUSTER;
      while (stop < end && this.#map.get(stop / CLUSTER) === state) stop += CLUSTER;
      stop = Math.min(stop, end);
      yield { state, offset: at, length: stop - at };
      at = stop;
    }
  }

  async *#unjoined(offset: number, length: number, signal: AbortSignal): AsyncGenerator<Extent, void, undefined> {
    for (const run of this.#runs(offset, length)) {
      if (run.state !== "base") {
        yield { offset: run.offset, length: run.length, kind: run.state === "zero" ? "zero" : "data" };
        continue;
      }
      for (let at = run.offset; at < run.offset + run.length;) {
        for await (const extent of this.#baseExtents.extentsIn(at, run.offset + run.length - at, { signal })) {
          yield extent;
          at = extent.offset + extent.length;
        }
      }
    }
  }

  async #readRun(state: ClusterState, offset: number, into: Uint8Array, signal: AbortSignal): Promise<void> {
    if (state === "base") await this.#base.read(offset, into, { signal });
    else if (state === "zero") into.fill(0);
    else await readFully(this.#handle, this.#path, into, this.#layout.dataOffset + offset);
  }

  /** Copies [from, to) of a cluster that is not in the file yet into it. */
  async #fill(cluster: number, from: number, to: number, signal: AbortSignal): Promise<void> {
    const state = this.#map.get(cluster);
    if (from >= to || state === "local") return;
    const rest = Buffer.allocUnsafeSlow(to - from);
    await this.#readRun(state, from, rest, signal);
    await this.#writeLocal(from, rest);
  }

  /** Zeros in a part of a cluster. */
  async #writeZeroPart(offset: number, length: number, signal: AbortSignal): Promise<void> {
    for (const run of this.#runs(offset, length)) {
      if (run.state !== "zero") await this.write(run.offset, new Uint8Array(run.length), { signal });
    }
  }

  async #writeLocal(offset: number, data: Uint8Array): Promise<void> {
    await writeFully(this.#handle, this.#path, data, this.#layout.dataOffset + offset);
  }

  #check(what: string, offset: number, length: number): void {
    checkRange(what, { offset, length, size: this.size }, this.#path);
  }
}
