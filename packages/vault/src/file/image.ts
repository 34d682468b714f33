import { execFile } from "node:child_process";
import { type FileHandle, open } from "node:fs/promises";
import { promisify } from "node:util";
import { BlockError, type BlockSource, type Extent, raceAbort } from "@godwit/core";

const run = promisify(execFile);
const mapLimits = { timeout: 120_000, maxBuffer: 512 << 20 };

/** A raw image file or a block device, for reading. Close it. */
export class FileImage implements BlockSource {
  readonly path: string;
  readonly size: number;
  readonly #file: FileHandle;
  readonly #sparse: boolean;
  readonly #closed = new AbortController();
  #mapping: Promise<readonly Mapped[] | undefined> | undefined;

  private constructor(path: string, file: FileHandle, size: number, sparse: boolean) {
    this.path = path;
    this.#file = file;
    this.size = size;
    this.#sparse = sparse;
  }

  /** Throws a `BlockError` of kind `io` or `unsupported`. */
  static async open(path: string): Promise<FileImage> {
    const file = await open(path, "r").catch((cause: unknown) => {
      throw new BlockError("io", `cannot open ${path}`, { path }, { cause });
    });
    try {
      const stat = await file.stat();
      if (stat.isBlockDevice()) return new FileImage(path, file, await deviceSize(path), true);
      if (!stat.isFile()) throw new BlockError("unsupported", `${path} is neither a file nor a block device`, { path });
      return new FileImage(path, file, stat.size, stat.blocks * 512 < stat.size);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** For threads of this process that read it themselves. */
  get descriptor(): number {
    return this.#file.fd;
  }

  /** Begins to find the holes, for {@link extents} to have them at once: for who has something else to do before. */
  lookAhead(): void {
    this.#mapping ??= this.#sparse ? mapOf(this.path, this.#closed.signal) : Promise.resolve(undefined);
    this.#mapping.catch(() => undefined);
  }

  /**
   * Holes come from `qemu-img map`, as Node cannot ask the file system. Without that tool everything counts
   * as data, which is slower and otherwise the same.
   */
  async *extents({ signal }: { signal: AbortSignal }): AsyncGenerator<Extent> {
    signal.throwIfAborted();
    const ahead = this.#mapping && raceAbort(this.#mapping, signal);
    this.#mapping = undefined;
    const holes = this.#sparse ? await (ahead ?? mapOf(this.path, signal)) : undefined;
    let at = 0;
    for (const { start, length, zero } of holes ?? []) {
      if (start !== at || length <= 0 || start + length > this.size) break;
      yield { offset: start, length, kind: zero ? "zero" : "data" };
      at += length;
    }
    if (at < this.size) yield { offset: at, length: this.size - at, kind: "data" };
  }

  async read(offset: number, into: Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    if (offset < 0 || offset + into.length > this.size) {
      throw new BlockError("out-of-range", `${this.path} has ${this.size} bytes; ${into.length} were asked for at ${offset}`, { offset });
    }
    for (let done = 0; done < into.length;) {
      const { bytesRead } = await this.#file.read(into, done, into.length - done, offset + done);
      if (bytesRead === 0) throw new BlockError("io", `${this.path} ends at ${offset + done}: it was cut while it was read`, { offset });
      done += bytesRead;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    await this.#file.close();
  }
}

interface Mapped {
  readonly start: number;
  readonly length: number;
  readonly zero: boolean;
}

async function mapOf(path: string, signal: AbortSignal): Promise<readonly Mapped[] | undefined> {
  try {
    const { stdout } = await run("qemu-img", ["map", "--output=json", "-f", "raw", "--", path], { ...mapLimits, signal });
    return JSON.parse(stdout) as Mapped[];
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/** A device's size: where reading ends, found by halving. */
export async function deviceSize(path: string): Promise<number> {
  const file = await open(path, "r");
  try {
    const probe = new Uint8Array(1);
    const has = async (offset: number): Promise<boolean> => {
      try {
        return (await file.read(probe, 0, 1, offset)).bytesRead === 1;
      } catch {
        return false;
      }
    };
    let [low, high] = [0, 512];
    while (await has(high - 1)) [low, high] = [high, high * 2];
    while (high - low > 512) {
      const middle = low + Math.floor((high - low) / 1024) * 512;
      if (await has(middle - 1)) low = middle;
      else high = middle;
    }
    return low;
  } finally {
    await file.close();
  }
}
