import { randomBytes } from "node:crypto";
import type { Clock } from "@godwit/core";
import { VaultError } from "../errors.ts";
import { epochDigits, limits, objectName } from "../format/objects.ts";
import type { BlobStore } from "../store/blob-store.ts";
import { type EpochContent, type EpochKey, type KeyRing, presentEpochs, readRing, sealEpoch } from "./ring.ts";
import {
  type Argon2Cost,
  grantVouches,
  makeGrant,
  makeSlot,
  openGrant,
  parseSlot,
  type Secret,
  type Slot,
  type SlotKind,
  unlockSlot,
} from "./slot.ts";

const smallObject = 64 << 10;
const parallelReads = 16;

interface StoredSlot {
  readonly slot: Slot;
  /** The object as stored: what grants vouch for. */
  readonly bytes: Uint8Array;
}

/** A slot, as `key list` shows it. */
export interface SlotInfo {
  readonly id: string;
  readonly kind: SlotKind;
  readonly label: string;
  readonly created: string;
  /** The newest epoch it can open; 0 when it opens nothing. */
  readonly epoch: number;
  /** False for a slot that no owner of a present key made: it was put there by the storage or is damaged. */
  readonly vouched: boolean;
}

export interface NewSlot {
  readonly secret: Secret;
  readonly label: string;
  readonly cost?: Argon2Cost;
}

async function readSlots(store: BlobStore, signal: AbortSignal): Promise<StoredSlot[]> {
  const names: string[] = [];
  for await (const { name } of store.list("slot/", { signal })) {
    if (names.length >= limits.slots) throw new VaultError("unsupported", `the vault has more than ${limits.slots} slots`);
    names.push(name);
  }
  const slots: StoredSlot[] = [];
  for (let first = 0; first < names.length; first += parallelReads) {
    const read = names.slice(first, first + parallelReads).map(async (name) => {
      const bytes = await store.get(name, { signal, maxBytes: smallObject });
      return { slot: parseSlot(bytes, name.slice("slot/".length)), bytes };
    });
    slots.push(...(await Promise.all(read)));
  }
  return slots;
}

/** The epochs that slots were granted, by slot, the newest first. */
async function listGrants(store: BlobStore, prefix: string, signal: AbortSignal): Promise<Map<string, number[]>> {
  const grants = new Map<string, number[]>();
  for await (const { name } of store.list(prefix, { signal })) {
    const [, slot = "", digits = ""] = name.split("/");
    const epoch = Number.parseInt(digits, 16);
    if (epoch >= 1) grants.set(slot, [...(grants.get(slot) ?? []), epoch]);
  }
  for (const epochs of grants.values()) epochs.sort((a, b) => b - a);
  return grants;
}

async function grantsOf(store: BlobStore, slot: string, signal: AbortSignal): Promise<number[]> {
  return (await listGrants(store, `grant/${slot}/`, signal)).get(slot) ?? [];
}

/** Makes a slot that opens the epoch of `key` and all before it. */
export async function addSlot(
  store: BlobStore,
  vault: string,
  key: EpochKey,
  wish: NewSlot & { readonly clock: Clock },
  signal: AbortSignal,
): Promise<Slot> {
  const { secret, label, cost, clock } = wish;
  const slot = await makeSlot(vault, secret, { label, now: clock.now(), ...(cost ? { cost } : {}) });
  const bytes = Buffer.from(JSON.stringify(slot));
  await store.put(objectName.slot(slot.id), [bytes], { signal });
  await grant({ store, key, signal }, { slot, bytes });
  return slot;
}

interface Granting {
  readonly store: BlobStore;
  readonly key: EpochKey;
  readonly signal: AbortSignal;
}

async function grant({ store, key, signal }: Granting, { slot, bytes }: StoredSlot): Promise<void> {
  const text = makeGrant(epochDigits(key.epoch), slot, bytes, key.key);
  await store.put(objectName.grant(slot.id, key.epoch), [Buffer.from(text)], { signal });
}

/** Opens the vault's keys with a secret. Throws `locked` when it opens no slot. */
export async function unlock(store: BlobStore, secret: Secret, signal: AbortSignal): Promise<KeyRing> {
  const looks = [readSlots(store, signal), listGrants(store, "grant/", signal), presentEpochs(store, signal)] as const;
  const [slots, grants, present] = await Promise.all(looks);
  for (const { slot } of slots) {
    const privateKey = await unlockSlot(slot, secret);
    if (!privateKey) continue;
    for (const epoch of grants.get(slot.id) ?? []) {
      const bytes = await store.get(objectName.grant(slot.id, epoch), { signal, maxBytes: smallObject });
      const key = openGrant(epochDigits(epoch), slot, privateKey, bytes);
      return await readRing(store, { vault: slot.vault, top: { epoch, key }, present }, signal);
    }
    throw new VaultError("locked", `slot ${slot.id} has been granted nothing: its making was interrupted; use another slot`, {
      slot: slot.id,
    });
  }
  throw new VaultError("locked", "this secret opens no slot of the vault");
}

async function vouched(store: BlobStore, keys: KeyRing, stored: StoredSlot, signal: AbortSignal): Promise<number> {
  for (const epoch of await grantsOf(store, stored.slot.id, signal)) {
    if (!keys.epochs.includes(epoch)) continue;
    const bytes = await store.get(objectName.grant(stored.slot.id, epoch), { signal, maxBytes: smallObject });
    if (grantVouches(bytes, keys.keyOf(epoch), stored.bytes)) return epoch;
  }
  return 0;
}

export async function listSlots(store: BlobStore, keys: KeyRing, signal: AbortSignal): Promise<SlotInfo[]> {
  const infos: SlotInfo[] = [];
  for (const stored of await readSlots(store, signal)) {
    const { id, kind, label, created } = stored.slot;
    const epoch = await vouched(store, keys, stored, signal);
    infos.push({ id, kind, label, created, epoch, vouched: epoch > 0 });
  }
  return infos;
}

/** Removes a slot. It still opens copies of the storage made before; a re-key protects what comes after. */
export async function removeSlot(store: BlobStore, id: string, signal: AbortSignal): Promise<void> {
  const slots = await readSlots(store, signal);
  if (!slots.some(({ slot }) => slot.id === id)) throw new VaultError("not-found", `the vault has no slot ${id}`, { slot: id });
  if (slots.length === 1)
    throw new VaultError("invalid", "this is the vault's last slot: without it nothing could be read; add another first");
  await store.delete(objectName.slot(id), { signal });
  for (const epoch of await grantsOf(store, id, signal)) await store.delete(objectName.grant(id, epoch), { signal });
}

/**
 * Starts a new epoch and grants it to every vouched slot: what is written from now on is out of reach of
 * all older keys. Run again after an interruption, it starts another epoch, which does no harm. Resolves to
 * the new ring; slots that nobody vouches for are left out and named.
 */
export async function startEpoch(
  store: BlobStore,
  keys: KeyRing,
  clock: Clock,
  signal: AbortSignal,
): Promise<{ readonly keys: KeyRing; readonly leftOut: readonly string[] }> {
  const key = await createEpoch(store, keys, clock, signal);
  const leftOut: string[] = [];
  for (const stored of await readSlots(store, signal)) {
    if ((await vouched(store, keys, stored, signal)) === 0) leftOut.push(stored.slot.id);
    else await grant({ store, key, signal }, stored);
  }
  const present = await presentEpochs(store, signal);
  return { keys: await readRing(store, { vault: keys.vault, top: key, present }, signal), leftOut };
}

async function createEpoch(store: BlobStore, keys: KeyRing, clock: Clock, signal: AbortSignal): Promise<EpochKey> {
  const { vault, naming, grid, current } = keys;
  for (let epoch = current.epoch + 1; ; epoch += 1) {
    const key: EpochKey = { epoch, key: randomBytes(32) };
    if (await putEpoch(store, key, { vault, epoch, naming, grid, previous: current }, { now: clock.now(), signal })) return key;
  }
}

/** Writes an epoch object and its second copy; false when the number is somebody else's. */
async function putEpoch(
  store: BlobStore,
  key: EpochKey,
  content: EpochContent,
  { now, signal }: { now: number; signal: AbortSignal },
): Promise<boolean> {
  const name = objectName.epoch(key.epoch);
  const object = sealEpoch(name, key, content, now);
  if ((await store.put(name, [object], { signal })) === "exists") {
    const stored = await store.get(name, { signal, maxBytes: limits.jsonBytes });
    if (Buffer.compare(stored, object) !== 0) return false;
  }
  const spare = objectName.spare(key.epoch);
  await store.put(spare, [sealEpoch(spare, key, content, now)], { signal });
  return true;
}

/** Writes the first epoch and slot of a new vault. */
export async function createKeys(
  store: BlobStore,
  init: NewSlot & { vault: string; grid: number; clock: Clock },
  signal: AbortSignal,
): Promise<KeyRing> {
  await clearInterruptedInit(store, signal);
  const key: EpochKey = { epoch: 1, key: randomBytes(32) };
  const content = { vault: init.vault, epoch: 1, naming: randomBytes(32), grid: init.grid };
  if (!(await putEpoch(store, key, content, { now: init.clock.now(), signal }))) {
    throw new VaultError("vault-exists", `somebody else is making a vault at ${store.location} right now`);
  }
  await addSlot(store, init.vault, key, init, signal);
  return await readRing(store, { vault: init.vault, top: key, present: new Set([1]) }, signal);
}

/** What an init left that died before its `config`: keys, and nothing else. */
async function clearInterruptedInit(store: BlobStore, signal: AbortSignal): Promise<void> {
  const leftovers: string[] = [];
  for await (const { name } of store.list("", { signal })) {
    if (!/^(?:epoch|spare|slot|grant)\//.test(name)) {
      const why = "it holds objects but no readable config: repair the vault, or choose an empty place";
      throw new VaultError("vault-exists", `no vault can be made at ${store.location}: ${why}`, { object: name });
    }
    leftovers.push(name);
  }
  for (const name of leftovers) await store.delete(name, { signal });
}
