import {
  argon2,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { promisify } from "node:util";
import { VaultError } from "../errors.ts";
import { hex, hkdf } from "../format/names.ts";
import { parseRecoveryCode } from "./recovery-code.ts";

/** Slots and grants; docs/formats/vault.md, section 4. */
export type SlotKind = "passphrase" | "keyfile" | "recovery";

/** What opens a slot. A recovery code is given as it was printed. */
export type Secret =
  | { readonly kind: "passphrase"; readonly passphrase: string }
  | { readonly kind: "keyfile"; readonly bytes: Uint8Array }
  | { readonly kind: "recovery"; readonly code: string };

export interface Argon2Cost {
  readonly memoryKiB: number;
  readonly passes: number;
  readonly lanes: number;
}

export type Kdf = ({ readonly name: "argon2id"; readonly salt: string } & Argon2Cost) | { readonly name: "hkdf"; readonly salt: string };

export interface Slot {
  readonly version: 1;
  /** The vault's id: a slot can be opened when `config` is lost. */
  readonly vault: string;
  readonly id: string;
  readonly kind: SlotKind;
  readonly label: string;
  readonly created: string;
  readonly kdf: Kdf;
  readonly public: string;
  readonly wrapped: string;
}

/** About 0.2 s and 64 MiB on one core of 2020. */
export const defaultCost: Argon2Cost = { memoryKiB: 64 << 10, passes: 3, lanes: 1 };

const hexPattern = /^(?:[0-9a-f]{2})*$/;
const deriveArgon2 = promisify(argon2);

function bytesOf(value: unknown, length: number): Buffer {
  if (typeof value !== "string" || value.length !== length * 2 || !hexPattern.test(value))
    throw new VaultError("corrupt", "a key object is damaged");
  return Buffer.from(value, "hex");
}

/** Throws `corrupt` for what is not a slot, `unsupported` for a KDF that is unknown or beyond the limits. */
export function parseSlot(text: Uint8Array, id: string): Slot {
  let slot: Partial<Slot>;
  try {
    slot = JSON.parse(Buffer.from(text).toString("utf8")) as Partial<Slot>;
  } catch (cause) {
    throw new VaultError("corrupt", `slot ${id} is damaged`, { slot: id }, { cause });
  }
  const { kdf } = slot ?? {};
  const kinds = ["passphrase", "keyfile", "recovery"];
  const whole =
    /^[0-9a-f]{32}$/.test(String(slot.vault)) &&
    typeof slot.label === "string" &&
    typeof slot.created === "string" &&
    kinds.includes(String(slot.kind));
  if (slot.id !== id || !kdf || !whole) throw new VaultError("corrupt", `slot ${id} is damaged`, { slot: id });
  const known =
    kdf.name === "hkdf" || (kdf.name === "argon2id" && within(kdf.memoryKiB, 4 << 20) && within(kdf.passes, 64) && within(kdf.lanes, 64));
  if (slot.version !== 1 || !known) throw new VaultError("unsupported", `slot ${id} needs a later program`, { slot: id });
  bytesOf(kdf.salt, 16);
  bytesOf(slot.public, 32);
  bytesOf(slot.wrapped, 48);
  return slot as Slot;
}

const within = (value: unknown, most: number): boolean =>
  typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= most;

async function slotKey(secret: Secret, kdf: Kdf): Promise<Buffer> {
  const salt = Buffer.from(kdf.salt, "hex");
  if (kdf.name === "argon2id") {
    const message = secret.kind === "passphrase" ? Buffer.from(secret.passphrase, "utf8") : Buffer.alloc(0);
    const { memoryKiB, passes, lanes } = kdf;
    return await deriveArgon2("argon2id", {
      message,
      nonce: salt,
      memory: Math.max(memoryKiB, lanes * 8),
      passes,
      parallelism: lanes,
      tagLength: 32,
    });
  }
  const bytes = secret.kind === "keyfile" ? secret.bytes : secret.kind === "recovery" ? parseRecoveryCode(secret.code) : new Uint8Array();
  return hkdf(bytes, salt, "godwit-vault/1 slot");
}

const privatePrefix = Buffer.from("302e020100300506032b656e04220420", "hex");
const publicPrefix = Buffer.from("302a300506032b656e032100", "hex");
const privateKeyOf = (raw: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([privatePrefix, raw]), format: "der", type: "pkcs8" });
const publicKeyOf = (raw: Uint8Array): KeyObject =>
  createPublicKey({ key: Buffer.concat([publicPrefix, raw]), format: "der", type: "spki" });

/** A new slot for `secret`. */
export async function makeSlot(
  vault: string,
  secret: Secret,
  options: { readonly label: string; readonly now: number; readonly cost?: Argon2Cost },
): Promise<Slot> {
  if (secret.kind === "passphrase" && secret.passphrase === "") throw new VaultError("invalid", "the passphrase is empty");
  if (secret.kind === "keyfile" && secret.bytes.length < 16) throw new VaultError("invalid", "a key file needs at least 16 bytes");
  const id = randomBytes(8).toString("hex");
  const pair = generateKeyPairSync("x25519");
  const raw = pair.privateKey.export({ format: "der", type: "pkcs8" }).subarray(-32);
  const salt = randomBytes(16).toString("hex");
  const kdf: Kdf = secret.kind === "passphrase" ? { name: "argon2id", ...(options.cost ?? defaultCost), salt } : { name: "hkdf", salt };
  const wrapped = seal(await slotKey(secret, kdf), raw, `godwit-vault/1 slot ${vault}${id}`);
  return {
    version: 1,
    vault,
    id,
    kind: secret.kind,
    label: options.label,
    created: new Date(options.now).toISOString(),
    kdf,
    public: hex(pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32)),
    wrapped: hex(wrapped),
  };
}

/** The slot's private key, or undefined when `secret` is not its secret. */
export async function unlockSlot(slot: Slot, secret: Secret): Promise<Uint8Array | undefined> {
  if (slot.kind !== secret.kind) return undefined;
  return unseal(await slotKey(secret, slot.kdf), bytesOf(slot.wrapped, 48), `godwit-vault/1 slot ${slot.vault}${slot.id}`);
}

/** `bytes` are the slot object's own. */
export function makeGrant(epoch: string, slot: Slot, bytes: Uint8Array, epochKey: Uint8Array): string {
  const pair = generateKeyPairSync("x25519");
  const ephemeral = pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  const target = Buffer.from(slot.public, "hex");
  const shared = diffieHellman({ privateKey: pair.privateKey, publicKey: publicKeyOf(target) });
  const key = hkdf(shared, Buffer.concat([ephemeral, target]), "godwit-vault/1 grant");
  const sealed = seal(key, epochKey, `godwit-vault/1 grant ${slot.vault}${slot.id}${epoch}`);
  return JSON.stringify({ ephemeral: hex(ephemeral), sealed: hex(sealed), mac: slotMac(epochKey, bytes) });
}

/** The epoch key. Throws `corrupt`. */
export function openGrant(epoch: string, slot: Slot, privateKey: Uint8Array, grant: Uint8Array): Uint8Array {
  const { ephemeral, sealed } = parseGrant(grant);
  const shared = diffieHellman({ privateKey: privateKeyOf(privateKey), publicKey: publicKeyOf(ephemeral) });
  const key = hkdf(shared, Buffer.concat([ephemeral, Buffer.from(slot.public, "hex")]), "godwit-vault/1 grant");
  const opened = unseal(key, sealed, `godwit-vault/1 grant ${slot.vault}${slot.id}${epoch}`);
  if (!opened) throw new VaultError("corrupt", `the grant of slot ${slot.id} for epoch ${epoch} is damaged`, { slot: slot.id });
  return opened;
}

/** True when an owner of `epochKey` made the slot whose object holds `bytes`. */
export function grantVouches(grant: Uint8Array, epochKey: Uint8Array, bytes: Uint8Array): boolean {
  return parseGrant(grant).mac === slotMac(epochKey, bytes);
}

function parseGrant(grant: Uint8Array): { ephemeral: Buffer; sealed: Buffer; mac: string } {
  try {
    const fields = JSON.parse(Buffer.from(grant).toString("utf8")) as Record<string, unknown>;
    return { ephemeral: bytesOf(fields["ephemeral"], 32), sealed: bytesOf(fields["sealed"], 48), mac: hex(bytesOf(fields["mac"], 32)) };
  } catch (cause) {
    throw new VaultError("corrupt", "a grant is damaged", {}, { cause });
  }
}

function slotMac(epochKey: Uint8Array, bytes: Uint8Array): string {
  return createHmac("sha256", hkdf(epochKey, new Uint8Array(), "godwit-vault/1 slots"))
    .update(bytes)
    .digest("hex");
}

function seal(key: Uint8Array, content: Uint8Array, associated: string): Buffer {
  const cipher = createCipheriv("aes-256-gcm", key, Buffer.alloc(12));
  cipher.setAAD(Buffer.from(associated));
  return Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]);
}

function unseal(key: Uint8Array, sealed: Uint8Array, associated: string): Buffer | undefined {
  const decipher = createDecipheriv("aes-256-gcm", key, Buffer.alloc(12));
  decipher.setAAD(Buffer.from(associated));
  decipher.setAuthTag(sealed.subarray(-16));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
  } catch {
    return undefined;
  }
}
