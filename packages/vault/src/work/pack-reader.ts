import { closeSync, openSync, readSync } from "node:fs";
import { VaultError } from "../errors.ts";
import { headerLength, type ObjectCipher } from "../format/envelope.ts";
import { limits } from "../format/objects.ts";
import { decodeRecord, type Item } from "../format/record.ts";
import type { PackSource } from "./protocol.ts";

const maxOpen = 8;
/** Of the records of our writers. */
const usualBytes = 260 << 10;

type CipherOf = (pack: string, header: () => Uint8Array) => ObjectCipher;

interface Pack {
  readonly pack: string;
  readonly from: PackSource;
}

export interface Opened {
  readonly items: readonly Item[];
  readonly payload: Uint8Array;
}

/** Opens records of packs that are files, or lie in memory, on one thread. */
export class PackReader {
  readonly #cipherOf: CipherOf;
  /** Packs open for reading; they never change, and what is read of one is checked by its seal. */
  readonly #files = new Map<string, number>();
  #frame: Uint8Array = new Uint8Array(0);
  /** What a frame held. */
  #content: Buffer = Buffer.alloc(0);

  constructor(cipherOf: CipherOf) {
    this.#cipherOf = cipherOf;
  }

  /**
   * A record of chunks, unpacked into `into` where that has room; valid until the next call. Throws `corrupt` or `missing`, or what the system says of
   * a file.
   */
  open(from: Pack, place: { readonly offset: number; readonly length: number }, into: Uint8Array): Opened {
    const { pack } = from;
    try {
      const cipher = this.#cipherOf(pack, () => this.#headerOf(from));
      const frame = this.#frameOf(from, place);
      if (this.#content.length < frame.length) this.#content = Buffer.allocUnsafeSlow(Math.max(frame.length, usualBytes));
      const content = cipher.open(frame, place.offset, this.#content);
      const { kind, items, payload } = decodeRecord(content, pack, into);
      if (kind !== "chunk") throw new VaultError("corrupt", `${pack} holds nodes where chunks should be`, { object: pack });
      return { items, payload };
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
      throw new VaultError("missing", `${pack} is gone from the store`, { object: pack }, { cause });
    }
  }

  #frameOf({ pack, from }: Pack, { offset, length }: { readonly offset: number; readonly length: number }): Uint8Array {
    const cut = (): VaultError => new VaultError("corrupt", `${pack} is cut before byte ${offset + length}`, { object: pack });
    if (length > limits.recordBytes + (16 << 10)) throw new VaultError("corrupt", `the index tells of a record of ${length} bytes`);
    if ("memory" in from) {
      if (offset + length > from.start + from.length) throw cut();
      return new Uint8Array(from.memory, offset - from.start, length);
    }
    if (this.#frame.length < length) this.#frame = new Uint8Array(Math.max(length, usualBytes));
    const frame = this.#frame.subarray(0, length);
    if (readFully(this.#fileOf(from.path), frame, offset) < length) throw cut();
    return frame;
  }

  #headerOf({ pack, from }: Pack): Uint8Array {
    if ("memory" in from) return from.header;
    const header = new Uint8Array(headerLength);
    if (readFully(this.#fileOf(from.path), header, 0) === headerLength) return header;
    throw new VaultError("corrupt", `${pack} is cut before its header ends`, { object: pack });
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
}

/** Small enough that what was read is still in the core's cache when it is hashed. */
export const pieceBytes: number = 256 << 10;

/** Fills `into`. Throws with the code `EIO` where the file ends before. */
export function readWhole(fd: number, into: Uint8Array, offset: number): void {
  if (readFully(fd, into, offset) === into.length) return;
  const message = `the file ends before byte ${offset + into.length}: it was cut while it was read`;
  throw Object.assign(new Error(message), { code: "EIO" });
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
