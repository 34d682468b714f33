import type { FileHandle } from "node:fs/promises";
import { BlockError, toError } from "@godwit/core";

/** Fills all of `into` from a file; what lies behind its end is an error. */
export async function readFully(file: FileHandle, path: string, into: Uint8Array, position: number): Promise<void> {
  try {
    for (let at = 0; at < into.length;) {
      const { bytesRead } = await file.read(into, at, into.length - at, position + at);
      if (bytesRead === 0)
        throw new BlockError("io", "the file ends too early; was it cut short meanwhile?", { path, offset: position + at });
      at += bytesRead;
    }
  } catch (error) {
    throw ioError("read", path, position, error);
  }
}

export async function writeFully(file: FileHandle, path: string, data: Uint8Array, position: number): Promise<void> {
  try {
    for (let at = 0; at < data.length;) at += (await file.write(data, at, data.length - at, position + at)).bytesWritten;
  } catch (error) {
    throw ioError("write", path, position, error);
  }
}

export async function syncFile(file: FileHandle, path: string): Promise<void> {
  try {
    await file.datasync();
  } catch (error) {
    throw ioError("sync", path, 0, error);
  }
}

export function ioError(what: string, path: string, offset: number, cause: unknown): BlockError {
  return cause instanceof BlockError ? cause : new BlockError("io", `cannot ${what} ${path}`, { path, offset }, { cause: toError(cause) });
}

export function checkRange(
  what: string,
  range: { readonly offset: number; readonly length: number; readonly size: number },
  path: string,
): void {
  const { offset, length, size } = range;
  const inside = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0 && offset + length <= size;
  if (!inside) throw new BlockError("out-of-range", `a ${what} reaches outside of the image`, { path, offset, length, size });
}
