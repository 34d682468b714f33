import { LibvirtError } from "../errors.ts";
import type { Codec } from "./codec.ts";
import { stringLimit } from "./decoder.ts";

const uuidPattern = /^[\da-f]{8}-?[\da-f]{4}-?[\da-f]{4}-?[\da-f]{4}-?[\da-f]{12}$/i;

function invalid(reason: string): LibvirtError {
  return new LibvirtError("invalid-argument", reason);
}

/** Writes XDR (RFC 4506). Throws `LibvirtError("invalid-argument")` for a value that its type does not have. */
export class Encoder {
  #bytes: Buffer;
  #at = 0;

  /** `reserve` bytes are left free at the start, for a header. */
  constructor(reserve = 0) {
    this.#bytes = Buffer.alloc(Math.max(256, reserve));
    this.#at = reserve;
  }

  /** Bytes so far, the reserved ones included. */
  get length(): number {
    return this.#at;
  }

  /** What was written; valid until the next write. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  /** Room for `length` bytes, zeroed. */
  #room(length: number): number {
    const at = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(this.#at, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    return at;
  }

  i32(value: number): void {
    if (!Number.isInteger(value) || value < -0x8000_0000 || value > 0x7fff_ffff) throw invalid(`not a 32-bit integer: ${value}`);
    const at = this.#room(4);
    this.#bytes.writeInt32BE(value, at);
  }

  u32(value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) throw invalid(`not an unsigned 32-bit integer: ${value}`);
    const at = this.#room(4);
    this.#bytes.writeUInt32BE(value, at);
  }

  i64(value: bigint): void {
    if (BigInt.asIntN(64, value) !== value) throw invalid(`not a 64-bit integer: ${value}`);
    const at = this.#room(8);
    this.#bytes.writeBigInt64BE(value, at);
  }

  u64(value: bigint): void {
    if (BigInt.asUintN(64, value) !== value) throw invalid(`not an unsigned 64-bit integer: ${value}`);
    const at = this.#room(8);
    this.#bytes.writeBigUInt64BE(value, at);
  }

  f64(value: number): void {
    const at = this.#room(8);
    this.#bytes.writeDoubleBE(value, at);
  }

  string(value: string): void {
    if (value.includes("\0")) throw invalid("text with a NUL, where libvirt would cut it");
    if (!value.isWellFormed()) throw invalid("text with half a surrogate pair has no UTF-8");
    const length = Buffer.byteLength(value);
    if (length > stringLimit) throw invalid(`text of ${length} bytes, at most ${stringLimit} allowed`);
    this.u32(length);
    const at = this.#room(length + (-length & 3));
    this.#bytes.write(value, at, "utf8");
  }

  uuid(value: string): void {
    if (!uuidPattern.test(value)) throw invalid(`not a UUID: ${value}`);
    const at = this.#room(16);
    this.#bytes.write(value.replaceAll("-", ""), at, "hex");
  }

  bytes(value: Uint8Array, max: number): void {
    if (value.length > max) throw invalid(`${value.length} bytes, at most ${max} allowed`);
    this.u32(value.length);
    this.bytesFixed(value, value.length);
  }

  bytesFixed(value: Uint8Array, length: number): void {
    if (value.length !== length) throw invalid(`${value.length} bytes where ${length} belong`);
    const at = this.#room(length + (-length & 3));
    this.#bytes.set(value, at);
  }

  chars(value: Uint8Array, max: number): void {
    if (value.length > max) throw invalid(`${value.length} characters, at most ${max} allowed`);
    this.u32(value.length);
    for (const char of value) this.i32((char << 24) >> 24);
  }

  cstring(value: string, max: number): void {
    this.chars(this.#withNul(value), max);
  }

  cstringFixed(value: string, length: number): void {
    const chars = this.#withNul(value);
    if (chars.length > length) throw invalid(`text of ${chars.length} bytes with its NUL, at most ${length} allowed`);
    for (let index = 0; index < length; index += 1) this.i32(((chars[index] ?? 0) << 24) >> 24);
  }

  #withNul(value: string): Uint8Array {
    if (value.includes("\0")) throw invalid("text with a NUL, where libvirt would cut it");
    return Buffer.from(`${value}\0`);
  }

  optional<T>(value: T | null, codec: Codec<T>): void {
    this.u32(value === null ? 0 : 1);
    if (value !== null) codec.write(this, value);
  }

  list<T>(values: readonly T[], max: number, codec: Codec<T>): void {
    if (values.length > max) throw invalid(`list of ${values.length}, at most ${max} allowed`);
    this.u32(values.length);
    for (const value of values) codec.write(this, value);
  }
}

/** The bytes of one value. */
export function encode<T>(codec: Codec<T>, value: T): Buffer {
  const to = new Encoder();
  codec.write(to, value);
  return to.finish();
}
