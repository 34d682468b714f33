import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { promisify } from "node:util";
import { BlockError, type BlockSink } from "@godwit/core";
import { deviceSize } from "./image.ts";

const run = promisify(execFile);
/** Smaller ones are written: a hole costs a process. */
const holeFrom = 4 << 20;
const zeros = new Uint8Array(1 << 20);
/** What may be written before the file system is told to begin storing it. */
const syncEvery = 128 << 20;

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: "the file system is full",
  EDQUOT: "a quota is reached",
  EFBIG: "the file may not become so large",
  EIO: "the device or the file system reports an error",
  EROFS: "the file system became read-only",
};

/** A file or block device, for writing a disk to. Close it. */
export class FileTarget implements BlockSink {
  readonly path: string;
  readonly size: number;
  /** It was empty: everything that is not written reads as zeros. */
  readonly blank: boolean;
  readonly #file: FileHandle;
  #punches = true;
  #unsynced = 0;
  #syncing: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;

  private constructor(path: string, file: FileHandle, size: number, blank: boolean) {
    this.path = path;
    this.#file = file;
    this.size = size;
    this.blank = blank;
  }

  /**
   * Opens `path` for a disk of `size` bytes: a new file becomes a sparse one of that size; an existing one is
   * taken as it is with `keep`, and refused otherwise; a device must be large enough.
   */
  static async open(path: string, size: number, { keep = false }: { readonly keep?: boolean } = {}): Promise<FileTarget> {
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600).catch((cause: unknown) => {
      throw new BlockError("io", `cannot open ${path} for writing`, { path }, { cause });
    });
    try {
      const stat = await file.stat();
      if (stat.isBlockDevice()) return new FileTarget(path, file, await checkedDevice(path, size), false);
      if (stat.size > 0 && !keep)
        throw new BlockError("io", `${path} exists and is not empty: restore in place, or choose another name`, { path });
      await file.truncate(size);
      return new FileTarget(path, file, size, stat.size === 0);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** For threads of this process that write to it themselves; they tell {@link wrote}. */
  get descriptor(): number {
    return this.#file.fd;
  }

  async write(offset: number, data: Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    for (let done = 0; done < data.length;) {
      try {
        done += (await this.#file.write(data, done, data.length - done, offset + done)).bytesWritten;
      } catch (error) {
        throw this.failed(offset + done, error);
      }
    }
    this.wrote(data.length);
  }

  /** What to tell of a write that failed, here or by who writes to {@link descriptor}: what was written so far stays. */
  failed(offset: number, cause: unknown): BlockError {
    const { code = "" } = cause as NodeJS.ErrnoException;
    const wayOut = code in reasons ? `: ${reasons[code]}; run it again when that is mended, and it goes on from what is there` : "";
    return new BlockError("io", `cannot write to ${this.path} at offset ${offset}${wayOut}`, { path: this.path, offset, code }, { cause });
  }

  /** Something that was written could not be stored: what reads well now may not be there after a restart. */
  get doubtful(): boolean {
    return this.#failure !== undefined;
  }

  /** Somebody has written so many bytes to {@link descriptor}. */
  wrote(bytes: number): void {
    this.#unsynced += bytes;
    if (this.#unsynced >= syncEvery) this.#begin();
  }

  async writeZeroes(offset: number, length: number, { signal }: { signal: AbortSignal }): Promise<void> {
    if (length >= holeFrom && (await this.#punch(offset, length, signal))) return;
    for (let done = 0; done < length; done += zeros.length) {
      await this.write(offset + done, zeros.subarray(0, Math.min(zeros.length, length - done)), { signal });
    }
  }

  /** Makes a hole, which Node cannot: false where that tool or the file system does not. */
  async #punch(offset: number, length: number, signal: AbortSignal): Promise<boolean> {
    if (!this.#punches) return false;
    try {
      await run("fallocate", ["--punch-hole", "--offset", String(offset), "--length", String(length), "--", this.path], { signal });
      return true;
    } catch {
      signal.throwIfAborted();
      this.#punches = false;
      return false;
    }
  }

  async flush({ signal }: { signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    await this.#syncing;
    // An error is told once: to whoever synced first.
    if (!this.#failure) {
      this.#begin();
      await this.#syncing;
    }
    if (!this.#failure) return;
    const { code = "" } = this.#failure.error as NodeJS.ErrnoException;
    const why = `${reasons[code] ?? "the system refused"}; what reads well there may not be stored, so restore to another file or device`;
    throw new BlockError(
      "io",
      `cannot make durable what was written to ${this.path}: ${why}`,
      { path: this.path, code },
      { cause: this.#failure.error },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#syncing;
    await this.#file.close();
  }

  /** Has stored what was written so far, in the background: at the end little is left to wait for. */
  #begin(): void {
    if (this.#syncing) return;
    this.#unsynced = 0;
    this.#syncing = this.#file
      .datasync()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }
}

async function checkedDevice(path: string, size: number): Promise<number> {
  const there = await deviceSize(path);
  if (there >= size) return there;
  throw new BlockError("out-of-range", `${path} has ${there} bytes; the disk needs ${size}`, { path });
}
