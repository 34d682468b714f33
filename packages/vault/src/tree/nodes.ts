import { isDamage, VaultError } from "../errors.ts";
import { headerLength, ObjectCipher, parseHeader } from "../format/envelope.ts";
import { hex, isZeroName, Namer, nameLength, sameName } from "../format/names.ts";
import { decodeNode, fanOut } from "../format/node.ts";
import { limits, type RecordPlace } from "../format/objects.ts";
import { decodeRecord, type Record } from "../format/record.ts";
import type { VaultIndex } from "../index/vault-index.ts";
import type { KeyRing } from "../keys/ring.ts";
import { type BlobStore, isNotFound, StoreError } from "../store/blob-store.ts";

const cachedRecords = 64;
const blank: Uint8Array = new Uint8Array(fanOut * nameLength);

/** Opens the ciphers of packs, keeping the ones used last. */
export class PackCiphers {
  readonly #store: BlobStore;
  readonly #keys: KeyRing;
  readonly #ciphers = new Map<string, Promise<ObjectCipher>>();

  constructor(store: BlobStore, keys: KeyRing) {
    this.#store = store;
    this.#keys = keys;
  }

  /** The pack's header, of which nothing but its form is proven. */
  async header(pack: string, signal: AbortSignal): Promise<Uint8Array> {
    return (await this.of(pack, signal)).header;
  }

  of(pack: string, signal: AbortSignal): Promise<ObjectCipher> {
    const known = this.#ciphers.get(pack);
    if (known) return known;
    if (this.#ciphers.size >= 1024) this.#ciphers.clear();
    const opening = this.#open(pack, signal);
    this.#ciphers.set(pack, opening);
    opening.catch(() => this.#ciphers.delete(pack));
    return opening;
  }

  async #open(pack: string, signal: AbortSignal): Promise<ObjectCipher> {
    const header = new Uint8Array(headerLength);
    const got = await this.#store.read(pack, 0, header, { signal });
    const { epoch } = parseHeader(header.subarray(0, got), "PACK", pack);
    return new ObjectCipher(this.#keys.keyOf(epoch), header, pack);
  }
}

/** Makes a vanished object the damage that it is for who needs it. */
export function asMissing(error: unknown, what: string): unknown {
  return isNotFound(error) ? new VaultError("missing", `${what} is gone from the store`, {}, { cause: error }) : error;
}

/** Reads a record's frame into memory of the caller's choice, checked for its length. Throws `corrupt` or `missing`. */
export async function readFrame<M extends ArrayBufferLike>(
  store: BlobStore,
  place: RecordPlace,
  take: (bytes: number) => M,
  signal: AbortSignal,
): Promise<M> {
  if (place.length > limits.recordBytes + (16 << 10))
    throw new VaultError("corrupt", `the index tells of a record of ${place.length} bytes`);
  const memory = take(place.length);
  try {
    const got = await store.read(place.pack, place.offset, new Uint8Array(memory, 0, place.length), { signal });
    if (got === place.length) return memory;
    throw new VaultError("corrupt", `${place.pack} is cut before byte ${place.offset + place.length}`, { object: place.pack });
  } catch (error) {
    throw asMissing(error, place.pack);
  }
}

/** Tree nodes by name, from the vault. */
export class Nodes {
  readonly #store: BlobStore;
  readonly #index: VaultIndex;
  readonly #ciphers: PackCiphers;
  readonly #namer: Namer;
  readonly #records = new Map<string, Record>();
  /** Where the last node came from: its neighbours are likely the next ones asked for. */
  #last: Record | undefined;

  constructor(parts: { readonly store: BlobStore; readonly keys: KeyRing; readonly index: VaultIndex; readonly ciphers: PackCiphers }) {
    this.#store = parts.store;
    this.#index = parts.index;
    this.#ciphers = parts.ciphers;
    this.#namer = new Namer(parts.keys.names.node);
  }

  /** The 64 names of a node. Throws `missing` or `corrupt`. */
  async load(name: Uint8Array, level: number, signal: AbortSignal): Promise<Uint8Array> {
    if (isZeroName(name)) return blank;
    const kept = this.#last && itemOf(this.#last, name);
    return decodeNode(kept ?? (await this.#fetch(name, signal)), level);
  }

  async #fetch(name: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const what = `tree node ${hex(name.subarray(0, 8))}…`;
    const since = this.#index.generation;
    const first = await this.#index.locate(name, what, signal);
    try {
      return await this.#fetchAt(first, name, signal);
    } catch (error) {
      if (!isDamage(error)) throw error;
      for await (const place of this.#index.places(name, signal)) {
        if (place.pack === first.pack && place.offset === first.offset) continue;
        const copy = await this.#fetchAt(place, name, signal).catch(() => undefined);
        if (copy) return copy;
      }
      // Gc may have moved it since the index was read.
      if (!(await this.#index.renew(signal, since))) throw error;
      return await this.#fetchAt(await this.#index.locate(name, what, signal), name, signal);
    }
  }

  async #fetchAt(place: RecordPlace, name: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const key = `${place.pack}/${place.offset}`;
    const record = this.#records.get(key) ?? (await this.#read(place, signal));
    this.#records.delete(key);
    this.#records.set(key, record);
    if (this.#records.size > cachedRecords) this.#records.delete(this.#records.keys().next().value!);
    this.#last = record;
    const node = itemOf(record, name);
    if (!node || !sameName(this.#namer.name(node), 0, name, 0)) {
      throw new VaultError("corrupt", `${place.pack} does not hold the node that the index says`, { object: place.pack });
    }
    return node;
  }

  async #read(place: RecordPlace, signal: AbortSignal): Promise<Record> {
    const take = (bytes: number): ArrayBuffer => new ArrayBuffer(bytes);
    try {
      const [cipher, frame] = await Promise.all([this.#ciphers.of(place.pack, signal), readFrame(this.#store, place, take, signal)]);
      const record = decodeRecord(cipher.open(new Uint8Array(frame), place.offset), place.pack);
      return { ...record, payload: Uint8Array.from(record.payload) };
    } catch (error) {
      throw error instanceof StoreError ? asMissing(error, place.pack) : error;
    }
  }
}

function itemOf(record: Record, name: Uint8Array): Uint8Array | undefined {
  for (const item of record.items) {
    if (sameName(item.name, 0, name, 0)) return record.payload.subarray(item.offset, item.offset + item.length);
  }
  return undefined;
}

/** A disk's tree: what of a point is needed to walk it. */
export interface Tree {
  readonly root: Uint8Array;
  readonly levels: number;
  /** Chunks of the disk. */
  readonly chunks: number;
}

export function childOf(entries: Uint8Array, index: number): Uint8Array {
  return entries.subarray((index % fanOut) * nameLength, (index % fanOut) * nameLength + nameLength);
}

export interface Leaf {
  /** Number of the first chunk. */
  readonly first: number;
  /** 64 names, of which those past the disk's end are zero. */
  readonly names: Uint8Array;
}

/** The leaves of a tree that are not all zero, between two chunk numbers, in order. */
export async function* walkLeaves(
  nodes: Pick<Nodes, "load">,
  tree: Tree,
  range: { readonly from: number; readonly to: number },
  signal: AbortSignal,
): AsyncGenerator<Leaf> {
  async function* walk(name: Uint8Array, level: number, first: number): AsyncGenerator<Leaf> {
    if (isZeroName(name)) return;
    signal.throwIfAborted();
    const entries = await nodes.load(name, level, signal);
    if (level === 1) {
      yield { first, names: entries };
      return;
    }
    const span = fanOut ** (level - 1);
    for (let i = 0; i < fanOut; i += 1) {
      const start = first + i * span;
      if (start < range.to && start + span > range.from) yield* walk(childOf(entries, i), level - 1, start);
    }
  }
  yield* walk(tree.root, tree.levels, 0);
}
