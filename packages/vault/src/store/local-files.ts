import type { FileHandle } from "node:fs/promises";
import { open } from "node:fs/promises";
import { StoreError, type StoreErrorKind } from "./blob-store.ts";

const kinds: Readonly<Record<string, StoreErrorKind>> = {
  ENOENT: "not-found",
  ENOTDIR: "not-found",
  EACCES: "denied",
  EPERM: "denied",
  EROFS: "denied",
  ENOSPC: "no-space",
  EDQUOT: "no-space",
  EFBIG: "no-space",
  EAGAIN: "unavailable",
  EBUSY: "unavailable",
  EMFILE: "unavailable",
  ENFILE: "unavailable",
  ESTALE: "unavailable",
  ETIMEDOUT: "unavailable",
  ENOTCONN: "unavailable",
  EHOSTDOWN: "unavailable",
  EHOSTUNREACH: "unavailable",
};

export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** What a failed call on the file system means to a store's caller; a {@link StoreError} as it is. */
export function storeErrorOf(error: unknown, what: string): StoreError {
  if (error instanceof StoreError) return error;
  const kind = kinds[codeOf(error) ?? ""] ?? "failed";
  const reasons: Partial<Record<StoreErrorKind, string>> = {
    "no-space": "the file system is full, or a quota is reached",
    denied: "the file system does not allow it",
    "not-found": "there is no such file",
  };
  const reason = reasons[kind];
  return new StoreError(kind, reason === undefined ? `cannot ${what}` : `cannot ${what}: ${reason}`, {}, { cause: error });
}

export async function writeAll(file: FileHandle, parts: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
  for (const part of parts) {
    for (let done = 0; done < part.length;) {
      signal.throwIfAborted();
      const { bytesWritten } = await file.write(part, done, part.length - done, null);
      done += bytesWritten;
    }
  }
}

const pieceBytes = 1 << 20;

/** The same, with no more than a piece at once on its way to the disk. */
export async function writeSteadily(file: FileHandle, parts: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
  for (const part of parts) {
    for (let at = 0; at < part.length; at += pieceBytes) {
      if (at > 0) await file.datasync();
      await writeAll(file, [part.subarray(at, at + pieceBytes)], signal);
    }
  }
}

/** Fills `into` as far as the file goes; the bytes read. */
export async function readAt(file: FileHandle, offset: number, into: Uint8Array): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await file.read(into, done, into.length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** Network file systems that keep directories in order by themselves refuse to sync them. */
const syncNeedless = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP", "EBADF", "EISDIR", "EACCES", "EPERM"]);

async function syncDirectory(path: string): Promise<void> {
  try {
    await using directory = await open(path, "r");
    await directory.sync();
  } catch (error) {
    if (!syncNeedless.has(codeOf(error) ?? "")) throw error;
  }
}

/** Makes entries of directories durable. Who asks while one directory is being synced shares the next sync. */
export class DirectorySync {
  readonly #running = new Map<string, { now: Promise<void>; next: Promise<void> | undefined }>();

  /** Resolves when every entry that was made in `path` before this call survives a power cut. */
  sync(path: string): Promise<void> {
    const running = this.#running.get(path);
    if (running) return (running.next ??= running.now.catch(() => undefined).then(() => this.#start(path)));
    return this.#start(path);
  }

  #start(path: string): Promise<void> {
    const now = syncDirectory(path);
    const entry = { now, next: undefined };
    this.#running.set(path, entry);
    const gone = (): void => {
      if (this.#running.get(path) === entry && entry.next === undefined) this.#running.delete(path);
    };
    now.then(gone, gone);
    return now;
  }
}
