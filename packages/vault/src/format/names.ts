import { createHmac, createSecretKey, hkdfSync, type KeyObject } from "node:crypto";

/** Length of a chunk's or node's name; docs/formats/vault.md, section 5. */
export const nameLength = 24;
export const zeroName: Uint8Array = new Uint8Array(nameLength);

export function isZeroName(names: Uint8Array, at = 0): boolean {
  for (let i = 0; i < nameLength; i += 1) if (names[at + i] !== 0) return false;
  return true;
}

export function sameName(a: Uint8Array, at: number, b: Uint8Array, bt: number): boolean {
  for (let i = 0; i < nameLength; i += 1) if (a[at + i] !== b[bt + i]) return false;
  return true;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

export function hkdf(key: Uint8Array, salt: Uint8Array, info: string): Buffer {
  return Buffer.from(hkdfSync("sha256", key, salt, info, 32));
}

export interface NamingKeys {
  readonly chunk: Uint8Array;
  readonly node: Uint8Array;
  readonly session: Uint8Array;
}

export function namingKeys(naming: Uint8Array): NamingKeys {
  const none = new Uint8Array();
  const keyFor = (what: string): Buffer => hkdf(naming, none, `godwit-vault/1 ${what}`);
  return { chunk: keyFor("chunk"), node: keyFor("node"), session: keyFor("session") };
}

/** The id, 16 bytes, of the point that a session makes; docs/formats/vault.md, section 13. */
export function pointOfSession({ session: key }: NamingKeys, session: string): Uint8Array {
  return Uint8Array.from(createHmac("sha256", key).update(Buffer.from(session, "hex")).digest().subarray(0, 16));
}

/** Names contents under one key. */
export class Namer {
  readonly #key: KeyObject;

  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key);
  }

  name(content: Uint8Array): Uint8Array {
    return createHmac("sha256", this.#key).update(content).digest().subarray(0, nameLength);
  }
}

const zeros = Buffer.alloc(4 << 20);

/** True when all of `content` (at most 4 MiB) is zeros. */
export function isZero(content: Uint8Array): boolean {
  if (content[0] !== 0 || content[content.length - 1] !== 0) return content.length === 0;
  return zeros.compare(content, 0, content.length, 0, content.length) === 0;
}
