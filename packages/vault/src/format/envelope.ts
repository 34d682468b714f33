import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from "node:crypto";
import { zstdDecompressSync } from "node:zlib";
import { VaultError } from "../errors.ts";
import { hkdf } from "./names.ts";
import { limits } from "./objects.ts";
import { release } from "./release.ts";
import { compress } from "./zstd.ts";

/** Sealed objects; docs/formats/vault.md, section 2. */
export const headerLength = 32;
export const tagLength = 16;
const sliceLength = 32 << 10;
/** Kinds of objects that are one frame of JSON. */
export type JsonKind = "EPCH" | "SESS" | "PONT" | "HURT" | "MARK" | "WAIT" | "DOOM" | "HOLD" | "VOID";
export type ObjectKind = JsonKind | "PACK" | "INDX";

export interface Header {
  readonly kind: ObjectKind;
  readonly epoch: number;
  /** 16 bytes. */
  readonly salt: Uint8Array;
}

export function encodeHeader({ kind, epoch, salt }: Header): Uint8Array {
  const header = Buffer.alloc(headerLength);
  header.write(`GWVT${kind}`, 0, "latin1");
  header.writeUInt16LE(1, 8);
  header.writeUInt32LE(epoch, 12);
  header.set(salt, 16);
  return header;
}

/** Throws `corrupt`, or `unsupported` for a later version; `name` is for the message. */
export function parseHeader(bytes: Uint8Array, kind: ObjectKind, name: string): Header {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < headerLength || view.toString("latin1", 0, 8) !== `GWVT${kind}`) {
    throw new VaultError("corrupt", `${name} does not start like an object of kind ${kind}`, { object: name });
  }
  const version = view.readUInt16LE(8);
  if (version !== 1) throw new VaultError("unsupported", `${name} has format version ${version}; this program knows 1`, { object: name });
  return { kind, epoch: view.readUInt32LE(12), salt: view.subarray(16, headerLength) };
}

/** True for an object that only keeps a name from being used; docs/formats/vault.md, section 13. */
export function isVoid(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(8, bytes.byteLength)).toString("latin1") === "GWVTVOID";
}

/** Seals and opens the frames of one object. */
export class ObjectCipher {
  readonly header: Uint8Array;
  readonly #key: KeyObject;
  readonly #associated: Uint8Array;
  readonly #name: string;

  constructor(epochKey: Uint8Array, header: Uint8Array, name: string) {
    const kind = Buffer.from(header.subarray(4, 8)).toString("latin1");
    this.header = header;
    this.#name = name;
    this.#key = createSecretKey(hkdf(epochKey, header.subarray(16, headerLength), `godwit-vault/1 object ${kind}`));
    this.#associated = Buffer.concat([header.subarray(0, headerLength), Buffer.from(name)]);
  }

  /** Writes the frame of `parts` into `into` at `offset`, which is also its offset in the object; returns the offset after it. */
  seal(parts: readonly Uint8Array[], into: Uint8Array, offset: number): number {
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonceAt(offset));
    cipher.setAAD(this.#associated);
    let at = offset;
    for (const part of parts) {
      // In slices that the allocator serves from its heap: large ones would be mapped and unmapped each time.
      for (let from = 0; from < part.length; from += sliceLength) {
        const sealed = cipher.update(part.subarray(from, from + sliceLength));
        into.set(sealed, at);
        at += sealed.length;
        release(sealed);
      }
    }
    cipher.final();
    into.set(cipher.getAuthTag(), at);
    return at + tagLength;
  }

  /**
   * The content of the frame that stands at `offset` of the object; it lies in `into`, where that is given: room for the
   * frame. Throws `corrupt`.
   */
  open(frame: Uint8Array, offset: number, into?: Buffer): Buffer {
    const corrupt = (): VaultError =>
      new VaultError("corrupt", `${this.#name} is damaged at offset ${offset}: its seal does not match`, { object: this.#name, offset });
    if (frame.length < tagLength) throw corrupt();
    const decipher = createDecipheriv("aes-256-gcm", this.#key, nonceAt(offset));
    decipher.setAAD(this.#associated);
    decipher.setAuthTag(frame.subarray(frame.length - tagLength));
    const sealed = frame.subarray(0, frame.length - tagLength);
    const content = into ? unsealInto(decipher, sealed, into) : decipher.update(sealed);
    try {
      decipher.final();
    } catch {
      throw corrupt();
    }
    return content;
  }
}

/** In slices, as {@link ObjectCipher.seal} does. */
function unsealInto(decipher: ReturnType<typeof createDecipheriv>, sealed: Uint8Array, into: Buffer): Buffer {
  let at = 0;
  while (at < sealed.length) {
    const part = decipher.update(sealed.subarray(at, at + sliceLength));
    into.set(part, at);
    at += part.length;
    release(part);
  }
  return into.subarray(0, at);
}

function nonceAt(offset: number): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64LE(BigInt(offset), 4);
  return nonce;
}

/** An object of one JSON frame, whole. */
export function sealJson(epochKey: Uint8Array, header: Header, name: string, value: unknown): Uint8Array {
  const text = Buffer.from(JSON.stringify(value));
  const packed = text.length > 512 ? compress(text, 3) : text;
  const body = packed.length < text.length ? packed : text;
  const object = Buffer.alloc(headerLength + 1 + body.length + tagLength);
  object.set(encodeHeader(header));
  const codec = Buffer.from([body === text ? 0 : 1]);
  new ObjectCipher(epochKey, object.subarray(0, headerLength), name).seal([codec, body], object, headerLength);
  return object;
}

/** The opposite of {@link sealJson}; the caller checks the shape. */
export function openJson(epochKey: Uint8Array, object: Uint8Array, name: string): unknown {
  const cipher = new ObjectCipher(epochKey, object.subarray(0, headerLength), name);
  const content = cipher.open(object.subarray(headerLength), headerLength);
  const corrupt = (cause?: unknown): VaultError => new VaultError("corrupt", `${name} holds no JSON`, { object: name }, { cause });
  const codec = content[0];
  if (codec !== 0 && codec !== 1) throw corrupt();
  const body = content.subarray(1);
  try {
    const text = codec === 0 ? body : zstdDecompressSync(body, { maxOutputLength: limits.jsonBytes });
    return JSON.parse(text.toString("utf8")) as unknown;
  } catch (cause) {
    throw corrupt(cause);
  }
}
