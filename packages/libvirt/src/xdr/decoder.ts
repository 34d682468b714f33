import { isUtf8 } from "node:buffer";
import { LibvirtError } from "../errors.ts";
import type { Codec } from "./codec.ts";

/** libvirt's REMOTE_STRING_MAX: the longest text either side accepts, in bytes. */
export const stringLimit = 4_194_304;

const padding = (length: number): number => -length & 3;

/**
 * Reads XDR (RFC 4506) from one message. Every length and count is checked against its limit and against
 * the bytes that are there before anything is allocated. Throws `LibvirtError("protocol")`.
 */
export class Decoder {
  readonly #bytes: Buffer;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = 0;
    this.#end = bytes.byteLength;
  }

  /** Bytes that are not read yet. */
  get remaining(): number {
    return this.#end - this.#at;
  }

  invalid(reason: string): LibvirtError {
    return new LibvirtError("protocol", `invalid data at byte ${this.#at} of a message: ${reason}`, { offset: this.#at });
  }

  /** Throws when bytes are left over: the peer's idea of the type is not ours. */
  end(): void {
    if (this.#at !== this.#end) throw this.invalid(`${this.#end - this.#at} bytes more than the type has`);
  }

  #take(length: number): number {
    if (length > this.#end - this.#at) throw this.invalid(`${length} bytes wanted, ${this.#end - this.#at} left`);
    const at = this.#at;
    this.#at += length;
    return at;
  }

  i32(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  i64(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8));
  }

  u64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  f64(): number {
    return this.#bytes.readDoubleBE(this.#take(8));
  }

  #length(max: number, what: string): number {
    const length = this.u32();
    if (length > max) throw this.invalid(`${what} of ${length}, at most ${max} allowed`);
    return length;
  }

  /** The start of `length` bytes that are followed by zeros up to a multiple of 4. */
  #padded(length: number): number {
    const at = this.#take(length + padding(length));
    for (let pad = at + length; pad < this.#at; pad += 1) {
      if (this.#bytes[pad] !== 0) throw this.invalid("padding is not zero");
    }
    return at;
  }

  string(): string {
    const length = this.#length(stringLimit, "text");
    return this.#text(this.#bytes, this.#padded(length), length);
  }

  #text(bytes: Buffer, at: number, length: number): string {
    const text = bytes.toString("utf8", at, at + length);
    // The replacement character is rare, and the only thing that bad UTF-8 can turn into.
    if (text.includes("\uFFFD") && !isUtf8(bytes.subarray(at, at + length))) throw this.invalid("text is not UTF-8");
    return text;
  }

  uuid(): string {
    const at = this.#take(16);
    const hex = this.#bytes.toString("hex", at, at + 16);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  /** A copy, so that a small value does not keep a large message alive. */
  bytes(max: number): Uint8Array {
    const length = this.#length(max, "opaque data");
    const at = this.#padded(length);
    return Uint8Array.from(this.#bytes.subarray(at, at + length));
  }

  bytesFixed(length: number): Uint8Array {
    const at = this.#padded(length);
    return Uint8Array.from(this.#bytes.subarray(at, at + length));
  }

  chars(max: number): Uint8Array {
    return this.charsFixed(this.#length(max, "characters"));
  }

  /** XDR `char`s: an int for each, negative above 127 where the peer's `char` is signed. */
  charsFixed(length: number): Uint8Array {
    if (length * 4 > this.remaining) throw this.invalid(`${length} characters wanted, ${this.remaining} bytes left`);
    const chars = new Uint8Array(length);
    for (let index = 0; index < length; index += 1) {
      const char = this.i32();
      if (char < -128 || char > 255) throw this.invalid(`${char} is not a character`);
      chars[index] = char;
    }
    return chars;
  }

  cstring(max: number): string {
    return this.#untilNul(this.chars(max));
  }

  cstringFixed(length: number): string {
    return this.#untilNul(this.charsFixed(length));
  }

  #untilNul(chars: Uint8Array): string {
    const nul = chars.indexOf(0);
    return this.#text(Buffer.from(chars.buffer), 0, nul < 0 ? chars.length : nul);
  }

  optional<T>(codec: Codec<T>): T | null {
    const present = this.u32();
    if (present > 1) throw this.invalid(`${present} is not a boolean`);
    return present === 1 ? codec.read(this) : null;
  }

  list<T>(max: number, codec: Codec<T>): T[] {
    const count = this.#length(max, "list");
    // No element is shorter than 4 bytes.
    if (count * 4 > this.remaining) throw this.invalid(`list of ${count}, but only ${this.remaining} bytes left`);
    const items: T[] = [];
    for (let index = 0; index < count; index += 1) items.push(codec.read(this));
    return items;
  }
}

/** Reads one value that must fill `bytes`. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const from = new Decoder(bytes);
  const value = codec.read(from);
  from.end();
  return value;
}
