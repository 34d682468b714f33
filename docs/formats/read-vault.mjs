#!/usr/bin/env node
/**
 * Restores a disk from a Godwit vault, written from docs/formats/vault.md alone: one file, nothing but what
 * Node 24 ships. For the day when nothing else is at hand.
 *
 *   node read-vault.mjs VAULT-DIRECTORY PASSPHRASE-FILE                     lists the recovery points
 *   node read-vault.mjs VAULT-DIRECTORY PASSPHRASE-FILE POINT DISK TARGET   restores a disk to a file
 */
import { argon2Sync, createDecipheriv, createHmac, createPrivateKey, createPublicKey, diffieHellman, hkdfSync } from "node:crypto";
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";

const [vault, passphraseFile, wantedPoint, wantedDisk, target] = process.argv.slice(2);
if (!passphraseFile) throw new Error("usage: read-vault.mjs VAULT-DIRECTORY PASSPHRASE-FILE [POINT DISK TARGET]");

const hkdf = (key, salt, info) => Buffer.from(hkdfSync("sha256", key, salt, info, 32));
const empty = Buffer.alloc(0);

/** AES-256-GCM with the tag at the end; section 2. */
function unseal(key, nonce, associated, sealed) {
  const decipher = createDecipheriv("aes-256-gcm", key, nonce);
  decipher.setAAD(associated);
  decipher.setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
}

const read = (name) => readFileSync(join(vault, name));
const names = (folder) => {
  try {
    return readdirSync(join(vault, folder)).sort();
  } catch {
    return [];
  }
};

// Keys: section 4.
const epochKeys = new Map();
let naming;

function openSlots() {
  const passphrase = Buffer.from(readFileSync(passphraseFile, "utf8").replace(/\r?\n$/, ""));
  for (const id of names("slot")) {
    const slot = JSON.parse(read(`slot/${id}`).toString());
    if (slot.kind !== "passphrase") continue;
    const { memoryKiB, passes, lanes, salt } = slot.kdf;
    const nonce = Buffer.from(salt, "hex");
    const memory = Math.max(memoryKiB, lanes * 8);
    const key = argon2Sync("argon2id", { message: passphrase, nonce, memory, passes, parallelism: lanes, tagLength: 32 });
    let secret;
    try {
      secret = unseal(key, Buffer.alloc(12), Buffer.from(`godwit-vault/1 slot ${slot.vault}${id}`), Buffer.from(slot.wrapped, "hex"));
    } catch {
      continue;
    }
    const epoch = names(`grant/${id}`).at(-1);
    followEpochs(Number.parseInt(epoch, 16), openGrant(slot, secret, epoch));
    return;
  }
  throw new Error("the passphrase opens no slot");
}

function openGrant(slot, secret, epoch) {
  const grant = JSON.parse(read(`grant/${slot.id}/${epoch}`).toString());
  const [ephemeral, own] = [Buffer.from(grant.ephemeral, "hex"), Buffer.from(slot.public, "hex")];
  const shared = diffieHellman({
    privateKey: createPrivateKey({
      key: Buffer.concat([Buffer.from("302e020100300506032b656e04220420", "hex"), secret]),
      format: "der",
      type: "pkcs8",
    }),
    publicKey: createPublicKey({
      key: Buffer.concat([Buffer.from("302a300506032b656e032100", "hex"), ephemeral]),
      format: "der",
      type: "spki",
    }),
  });
  const key = hkdf(shared, Buffer.concat([ephemeral, own]), "godwit-vault/1 grant");
  return unseal(
    key,
    Buffer.alloc(12),
    Buffer.from(`godwit-vault/1 grant ${slot.vault}${slot.id}${epoch}`),
    Buffer.from(grant.sealed, "hex"),
  );
}

const digits = (epoch) => epoch.toString(16).padStart(8, "0");

function followEpochs(epoch, key) {
  epochKeys.set(epoch, key);
  const content = openJson(`epoch/${digits(epoch)}`, "EPCH");
  naming ??= Buffer.from(content.naming, "hex");
  // Older keys that are gone seal nothing any more; section 15.
  if (content.previous) epochKeys.set(content.previous.epoch, Buffer.from(content.previous.key, "hex"));
  if (content.previous && names("epoch").includes(digits(content.previous.epoch)))
    followEpochs(content.previous.epoch, Buffer.from(content.previous.key, "hex"));
}

// Sealed objects: section 2.
function openObject(name, kind, object) {
  if (object.toString("latin1", 0, 8) !== `GWVT${kind}` || object.readUInt16LE(8) !== 1)
    throw new Error(`${name} is no ${kind} of version 1`);
  const key = hkdf(epochKeys.get(object.readUInt32LE(12)), object.subarray(16, 32), `godwit-vault/1 object ${kind}`);
  const associated = Buffer.concat([object.subarray(0, 32), Buffer.from(name)]);
  return (offset, length) => {
    const nonce = Buffer.alloc(12);
    nonce.writeBigUInt64LE(BigInt(offset), 4);
    return unseal(key, nonce, associated, object.subarray(offset, offset + length));
  };
}

function openJson(name, kind) {
  const object = read(name);
  const content = openObject(name, kind, object)(32, object.length - 32);
  const text = content[0] === 1 ? zstdDecompressSync(content.subarray(1)) : content.subarray(1);
  return JSON.parse(text.toString());
}

// Packs: section 5. Every pack's table is read; indexes are not needed.
const places = new Map();

function readTables(kind) {
  for (const batch of names(kind)) {
    for (const id of names(`${kind}/${batch}`)) {
      const name = `${kind}/${batch}/${id}`;
      const pack = read(name);
      const frame = openObject(name, "PACK", pack);
      const table = frame(pack.readUInt32LE(pack.length - 16), pack.readUInt32LE(pack.length - 12));
      const records = table.readUInt32LE(0);
      let item = 8 + records * 12;
      for (let at = 8; at < 8 + records * 12; at += 12) {
        for (let left = table.readUInt16LE(at + 8); left > 0; left -= 1, item += 28) {
          places.set(table.toString("hex", item, item + 24), { name, offset: table.readUInt32LE(at), length: table.readUInt32LE(at + 4) });
        }
      }
    }
  }
}

let last = { key: "", items: new Map(), pack: "", frame: undefined };

/** The content of a chunk or node. */
function item(name) {
  const place = places.get(name);
  if (!place) throw new Error(`${name} is in no pack`);
  const key = `${place.name}/${place.offset}`;
  if (last.key !== key) {
    const frame = last.pack === place.name ? last.frame : openObject(place.name, "PACK", read(place.name));
    const record = frame(place.offset, place.length);
    const count = record.readUInt16LE(2);
    const body = record.subarray(8 + count * 28);
    const payload = record[1] === 1 ? zstdDecompressSync(body) : body;
    const items = new Map();
    for (let i = 0, from = 0; i < count; i += 1) {
      const at = 8 + i * 28;
      const length = record.readUInt32LE(at + 24);
      items.set(record.toString("hex", at, at + 24), payload.subarray(from, from + length));
      from += length;
    }
    last = { key, items, pack: place.name, frame };
  }
  const content = last.items.get(name);
  const namingKey = hkdf(naming, empty, `godwit-vault/1 ${place.name.startsWith("tree/") ? "node" : "chunk"}`);
  const actual = createHmac("sha256", namingKey).update(content).digest("hex").slice(0, 48);
  if (actual !== name) throw new Error(`${name} is damaged`);
  return content;
}

// Disk trees: section 6.
const zero = "0".repeat(48);

function* chunksOf(name, level, first) {
  if (name === zero) return;
  const node = item(name);
  if (node[0] !== level) throw new Error(`${name} is not of level ${level}`);
  for (let i = 0; i < node.readUInt16LE(2); i += 1) {
    const child = node.toString("hex", 4 + i * 24, 28 + i * 24);
    if (level > 1) yield* chunksOf(child, level - 1, first + i * 64 ** (level - 1));
    else if (child !== zero) yield { chunk: first + i, name: child };
  }
}

/** Ids of points; a void only keeps a name from being used (section 13). */
const points = () => names("point").filter((id) => read(`point/${id}`).toString("latin1", 0, 8) !== "GWVTVOID");

openSlots();
if (!wantedPoint) {
  const renewed = points().flatMap((id) => openJson(`point/${id}`, "PONT").formerly ?? []);
  for (const id of points().filter((one) => !renewed.includes(one))) {
    const { name, time, disks } = openJson(`point/${id}`, "PONT");
    console.log(id, time, name, disks.map((disk) => `${disk.name} (${disk.size} bytes)`).join(", "));
  }
} else {
  const id = points().find((one) => one.startsWith(wantedPoint));
  const point = openJson(`point/${id}`, "PONT");
  const disk = point.disks.find((one) => one.name === wantedDisk);
  readTables("data");
  readTables("tree");
  const file = openSync(target, "w", 0o600);
  ftruncateSync(file, disk.size);
  for (const { chunk, name } of chunksOf(disk.root, disk.levels, 0)) writeSync(file, item(name), 0, undefined, chunk * point.grid);
  closeSync(file);
  console.log(`restored ${disk.name} of ${point.name}, ${point.time}: ${disk.size} bytes`);
}
