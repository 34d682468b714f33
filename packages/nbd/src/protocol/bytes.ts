import { malformed } from "../error.ts";
import { LIMIT } from "./constants.ts";

/** A view of exactly these bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * An unsigned 64-bit number as a double. Above 2^53 it is only approximately right, which is enough to be
 * refused: every use compares it with a size that is exact.
 */
export function getU64(view: DataView, at: number): number {
  return view.getUint32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
}

export function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 0x1_0000_0000));
  view.setUint32(at + 4, value >>> 0);
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/** A name that must be a valid string of the protocol. */
export function decodeName(bytes: Uint8Array, what: string): string {
  if (bytes.length > LIMIT.string) throw malformed(`${what} is ${bytes.length} bytes long, more than the ${LIMIT.string} allowed`);
  if (bytes.includes(0)) throw malformed(`${what} contains a NUL`);
  try {
    return strict.decode(bytes);
  } catch {
    throw malformed(`${what} is not valid UTF-8`);
  }
}

/** A message for humans: whatever it is, it is shown, without control characters. */
export function decodeMessage(bytes: Uint8Array): string {
  // oxlint-disable-next-line no-control-regex -- control characters of a peer must not reach a terminal
  return lenient.decode(bytes.subarray(0, LIMIT.string)).replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, " ");
}

export function encodeName(name: string, what: string): Uint8Array {
  const bytes = Buffer.from(name, "utf8");
  if (bytes.length > LIMIT.string || bytes.includes(0)) throw malformed(`${what} is longer than ${LIMIT.string} bytes or contains a NUL`);
  return bytes;
}

/** Reads fields one after the other; whatever is missing is a protocol error. */
export class FieldReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#what = what;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u16(): number {
    return this.#view.getUint16(this.#skip(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#skip(4));
  }

  u64(): number {
    return getU64(this.#view, this.#skip(8));
  }

  bytes(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#bytes.subarray(at, at + length);
  }

  name(length: number): string {
    return decodeName(this.bytes(length), this.#what);
  }

  rest(): Uint8Array {
    return this.bytes(this.left);
  }

  end(): void {
    if (this.left !== 0) throw malformed(`${this.#what} has ${this.left} bytes too many`);
  }

  #skip(length: number): number {
    if (length > this.left) throw malformed(`${this.#what} is too short: ${length} more bytes expected, ${this.left} left`);
    const at = this.#at;
    this.#at += length;
    return at;
  }
}

/** Builds a message from fields. */
export class FieldWriter {
  readonly #parts: Uint8Array[] = [];

  u16(value: number): this {
    const part = Buffer.allocUnsafe(2);
    part.writeUInt16BE(value);
    return this.bytes(part);
  }

  u32(value: number): this {
    const part = Buffer.allocUnsafe(4);
    part.writeUInt32BE(value);
    return this.bytes(part);
  }

  u64(value: number): this {
    const part = new Uint8Array(8);
    setU64(viewOf(part), 0, value);
    return this.bytes(part);
  }

  magic(value: bigint): this {
    const part = Buffer.allocUnsafe(8);
    part.writeBigUInt64BE(value);
    return this.bytes(part);
  }

  bytes(part: Uint8Array): this {
    this.#parts.push(part);
    return this;
  }

  build(): Buffer {
    return Buffer.concat(this.#parts);
  }
}
