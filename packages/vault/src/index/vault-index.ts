import { Semaphore } from "@godwit/core";
import { isDamage, isUnreadable, VaultError } from "../errors.ts";
import { headerLength, ObjectCipher, parseHeader } from "../format/envelope.ts";
import { nameLength } from "../format/names.ts";
import type { RecordPlace } from "../format/objects.ts";
import { type FinishedPack, packEntryLength, parseTable, parseTrailer, type TableRecord, trailerLength } from "../format/pack.ts";
import { type IndexedPack } from "../format/segment.ts";
import type { KeyRing } from "../keys/ring.ts";
import { type BlobStore, isNotFound } from "../store/blob-store.ts";
import { Condemned, type StandingMark } from "./condemned.ts";
import { HurtRecords } from "./hurt.ts";
import { BlockCache } from "./block-cache.ts";
import { NameTable } from "./name-table.ts";
import { type Located, SegmentReader } from "./segment-reader.ts";

const nearbyEntries = 1 << 17;
const nearbyExtra = 12;
const parallelOpens = 16;

/** What a refresh found in the store. */
interface Listed {
  /** Its number among the refreshes, by their beginnings. */
  readonly turn: number;
  readonly marks: ReadonlyMap<string, StandingMark>;
  readonly present: ReadonlySet<string>;
}

/**
 * Where chunks and nodes are. Memory: each segment's head (about 1.5 bytes per entry), a block cache, and
 * the places of what lies in the packs met last: neighbours on a disk are neighbours in a pack, so one
 * lookup in the index answers for hundreds of chunks.
 */
export class VaultIndex {
  readonly #store: BlobStore;
  readonly #keys: KeyRing;
  readonly #cache = new BlockCache(8 << 20);
  readonly #segments = new Map<string, SegmentReader>();
  /** Names beside their place: pack number (4), offset (4), length (4); two generations. */
  #near = new NameTable(nearbyExtra, 1 << 12);
  #far = new NameTable(nearbyExtra, 16);
  readonly #packs: string[] = [];
  readonly #packNumbers = new Map<string, number>();
  readonly #tables = new Map<string, Promise<void>>();
  readonly #damaged: string[] = [];
  /** What verification found; `refresh` reads it. */
  readonly hurt = new HurtRecords();
  /** What gc will delete; `refresh` reads it, before it reads anything else. */
  readonly condemned = new Condemned();
  /**
   * Packs that sessions of this process stored and that no segment mentions yet: nobody else may count on them, as the
   * session may still fail.
   */
  readonly pending = new Set<string>();
  readonly #voids = new Set<string>();
  readonly #locked: string[] = [];
  /** A segment was found gone since the last refresh. */
  #stale = false;
  /** Renewals to leave out, as the last ones brought nothing. */
  #renewals = { skip: 0, next: 1 };
  #generation = 0;
  readonly #renewing = new Semaphore(1);
  #turns = 0;
  /** Of the refreshes that are done, the one that began last. */
  #listed: Listed = { turn: 0, marks: new Map(), present: new Set() };
  /** How often what is known nearby was forgotten. */
  #forgotten = 0;

  constructor(store: BlobStore, keys: KeyRing) {
    this.#store = store;
    this.#keys = keys;
  }

  /** Batches whose segment could not be used; `repair` makes them anew. */
  get damagedSegments(): readonly string[] {
    return this.#damaged;
  }

  /** Batches whose segment is sealed with a key that the opened slot was not granted. */
  get lockedSegments(): readonly string[] {
    return this.#locked;
  }

  /** Grows whenever a renewal brought something. */
  get generation(): number {
    return this.#generation;
  }

  get segments(): readonly SegmentReader[] {
    return [...this.#segments.values()];
  }

  /**
   * Reads marks, then opens segments that were written since the last time and forgets those that are gone. Several may be
   * under way, for captures that share the index.
   */
  async refresh(signal: AbortSignal): Promise<void> {
    const turn = (this.#turns += 1);
    const marks = await this.condemned.read(this.#store, this.#keys, signal);
    const [present] = await Promise.all([this.#batches(signal), this.hurt.refresh(this.#store, this.#keys, signal)]);
    this.#damaged.length = 0;
    this.#locked.length = 0;
    this.#stale = false;
    const opened = new Map<string, SegmentReader | undefined>();
    const isMissing = (batch: string): boolean => !this.#segments.has(batch) && !this.#voids.has(batch) && !opened.has(batch);
    // Again, as another refresh may forget what a listing before this one did not have.
    for (let missing = [...present].filter(isMissing); missing.length > 0; missing = [...present].filter(isMissing)) {
      const some = missing.slice(0, parallelOpens);
      await Promise.all(some.map(async (batch) => opened.set(batch, await this.#open(batch, signal))));
    }
    this.#apply({ turn, marks, present }, opened);
  }

  /**
   * All at once, so that nobody finds a pack in a segment that is to be forgotten when the mark that condemned it does not
   * count any more. What a listing says that began later holds: who saw a mark there counts on it.
   */
  #apply(listed: Listed, opened: ReadonlyMap<string, SegmentReader | undefined>): void {
    const isNewest = listed.turn > this.#listed.turn;
    if (isNewest) this.#listed = listed;
    const { present } = this.#listed;
    let changed = false;
    for (const [batch, segment] of opened) {
      if (!segment || !present.has(batch)) continue;
      this.#segments.set(batch, segment);
      changed = true;
    }
    const gone = isNewest ? [...this.#segments.keys()].filter((batch) => !present.has(batch)) : [];
    for (const batch of gone) this.#segments.delete(batch);
    const went = isNewest && this.condemned.apply(listed.marks);
    if (gone.length > 0 || went) this.forgetNearby();
    if (gone.length > 0 || changed) this.#generation += 1;
  }

  async #batches(signal: AbortSignal): Promise<Set<string>> {
    const batches = new Set<string>();
    for await (const { name } of this.#store.list("index/", { signal })) batches.add(name.slice("index/".length));
    return batches;
  }

  /**
   * Reads the index again because something was not where it should be: gc may have moved it. False when
   * that cannot help; after fruitless renewals ever more are left out, so that damage costs no listing a chunk.
   * `since` is the {@link generation} that the caller looked in: when it is over, looking again is enough.
   */
  async renew(signal: AbortSignal, since: number): Promise<boolean> {
    // Many may miss the same pack at once: one reads the index again for all.
    using _turn = await this.#renewing.acquire({ signal });
    if (since !== this.#generation) return true;
    if (!this.#stale && this.#renewals.skip > 0) {
      this.#renewals.skip -= 1;
      return false;
    }
    await this.refresh(signal);
    const { next } = this.#renewals;
    const changed = since !== this.#generation;
    this.#renewals = changed ? { skip: 0, next: 1 } : { skip: next, next: Math.min(next * 2, 1 << 20) };
    return changed;
  }

  /** Opens one segment; undefined for one that is none, or gone. A damaged one is noted, not thrown. */
  async #open(batch: string, signal: AbortSignal): Promise<SegmentReader | undefined> {
    try {
      const context = { store: this.#store, keys: this.#keys, cache: this.#cache };
      const segment = await SegmentReader.open(batch, context, signal);
      if (!segment) this.#voids.add(batch);
      return segment;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      if (!isUnreadable(error)) throw error;
      (isDamage(error) ? this.#damaged : this.#locked).push(batch);
      return undefined;
    }
  }

  /** Makes a segment known that was just stored. */
  take(batch: string, segment: Uint8Array): void {
    this.#segments.set(batch, SegmentReader.ofStored(batch, segment, { store: this.#store, keys: this.#keys, cache: this.#cache }));
  }

  /** Forgets a segment that was replaced. */
  drop(batch: string): void {
    this.#segments.delete(batch);
  }

  /** Makes the contents of a pack known that was just stored, or whose table was just read. */
  learn(pack: string, entries: Uint8Array): void {
    if (this.#near.size + entries.length / packEntryLength > nearbyEntries) {
      [this.#near, this.#far] = [this.#far, this.#near];
      this.#near.clear();
      this.#tables.clear();
    }
    const number = this.#numberOf(pack);
    for (let at = 0; at < entries.length; at += packEntryLength) {
      const { offset } = this.#near.add(entries, at);
      const place = this.#near.entries.subarray(offset + nameLength, offset + nameLength + nearbyExtra);
      new DataView(place.buffer, place.byteOffset).setUint32(0, number, true);
      place.set(entries.subarray(at + nameLength, at + packEntryLength), 4);
    }
  }

  /** Forgets what is known about a pack's contents, because they turned out to be damaged. */
  forgetNearby(): void {
    this.#forgotten += 1;
    this.#near.clear();
    this.#far.clear();
    this.#tables.clear();
  }

  #numberOf(pack: string): number {
    const known = this.#packNumbers.get(pack);
    if (known !== undefined) return known;
    this.#packs.push(pack);
    this.#packNumbers.set(pack, this.#packs.length - 1);
    return this.#packs.length - 1;
  }

  /** What is known without reading anything. */
  nearby(names: Uint8Array, at = 0): RecordPlace | undefined {
    for (const table of [this.#near, this.#far]) {
      const offset = table.find(names, at);
      if (offset < 0) continue;
      const { buffer, byteOffset } = table.entries;
      const view = new DataView(buffer, byteOffset + offset + nameLength, nearbyExtra);
      return { pack: this.#packs[view.getUint32(0, true)]!, offset: view.getUint32(4, true), length: view.getUint32(8, true) };
    }
    return undefined;
  }

  /** True when the name is certainly not in the vault, as far as segments tell; reads nothing. */
  surelyNew(names: Uint8Array, at = 0): boolean {
    if (this.nearby(names, at)) return false;
    for (const segment of this.#segments.values()) if (segment.mayContain(names, at)) return false;
    return true;
  }

  /**
   * Where the item is, or undefined when the vault does not have it. A place that verification found
   * damaged or gc condemned is the last resort, and none at all with `sound`, nor is one in a pending pack.
   */
  async find(name: Uint8Array, signal: AbortSignal, sound = false): Promise<RecordPlace | undefined> {
    const near = this.nearby(name);
    if (near && this.#isSound(near) && !(sound && this.pending.has(near.pack))) return near;
    let last: RecordPlace | undefined;
    const condemned = this.condemned.now;
    for await (const place of this.places(name, signal)) {
      last = place;
      if (!this.#isSound(place, condemned)) continue;
      await this.#learnTable(place.indexed, signal);
      return place;
    }
    return sound ? undefined : last;
  }

  #isSound(place: RecordPlace, condemned: (pack: string) => boolean = this.condemned.now): boolean {
    return !this.hurt.has(place) && !condemned(place.pack);
  }

  /** Every place that segments know and that verification and gc left alone, in packs that `excluded` does not name. */
  async *soundPlaces(name: Uint8Array, excluded: (pack: string) => boolean, signal: AbortSignal): AsyncGenerator<RecordPlace> {
    const condemned = this.condemned.now;
    for await (const place of this.places(name, signal)) if (this.#isSound(place, condemned) && !excluded(place.pack)) yield place;
  }

  /** As {@link find}; throws `missing`. `what` is for the message. */
  async locate(name: Uint8Array, what: string, signal: AbortSignal): Promise<RecordPlace> {
    const since = this.#generation;
    let place = await this.find(name, signal);
    if (!place && (await this.renew(signal, since))) place = await this.find(name, signal);
    if (!place) throw new VaultError("missing", `${what} is not in the vault: no index knows it; run repair`);
    return place;
  }

  /** Every place that segments know for a name. A damaged block counts as not knowing. */
  async *places(name: Uint8Array, signal: AbortSignal): AsyncGenerator<Located> {
    for (const segment of this.#segments.values()) {
      if (!segment.mayContain(name, 0)) continue;
      let found: Located | undefined;
      try {
        found = await segment.find(name, signal);
      } catch (error) {
        if (isNotFound(error)) this.#stale = true;
        else if (!isDamage(error)) throw error;
        else if (!this.#damaged.includes(segment.batch)) this.#damaged.push(segment.batch);
      }
      if (found) yield found;
    }
  }

  /** Learns a pack's whole table, once; a table that cannot be read teaches nothing, the index knows enough. */
  async #learnTable(pack: IndexedPack, signal: AbortSignal): Promise<void> {
    let reading = this.#tables.get(pack.name);
    if (!reading) {
      reading = this.#readTable(pack, signal).catch((error: unknown) => {
        if (!isDamage(error) && !isNotFound(error)) throw error;
      });
      this.#tables.set(pack.name, reading);
    }
    await reading;
  }

  async #readTable(pack: IndexedPack, signal: AbortSignal): Promise<void> {
    const header = new Uint8Array(headerLength);
    const frame = new Uint8Array(pack.tableLength);
    const forgotten = this.#forgotten;
    await Promise.all([
      this.#store.read(pack.name, 0, header, { signal }),
      this.#store.read(pack.name, pack.tableOffset, frame, { signal }),
    ]);
    const { epoch } = parseHeader(header, "PACK", pack.name);
    const table = new ObjectCipher(this.#keys.keyOf(epoch), header, pack.name).open(frame, pack.tableOffset);
    // It may be of a pack that went meanwhile.
    if (forgotten === this.#forgotten) this.learn(pack.name, tableEntries(parseTable(table, pack.tableOffset, pack.name)));
  }
}

function tableEntries(records: readonly TableRecord[]): Uint8Array<ArrayBuffer> {
  const count = records.reduce((sum, record) => sum + record.items.length, 0);
  const entries = new Uint8Array(count * packEntryLength);
  const view = new DataView(entries.buffer);
  let at = 0;
  for (const { offset, length, items } of records) {
    for (const { name } of items) {
      entries.set(name, at);
      view.setUint32(at + nameLength, offset, true);
      view.setUint32(at + nameLength + 4, length, true);
      at += packEntryLength;
    }
  }
  return entries;
}

export interface PackTable {
  readonly records: readonly TableRecord[];
  readonly indexed: IndexedPack;
  readonly entries: Uint8Array<ArrayBuffer>;
}

/** A pack's table, found from its end. Throws `corrupt`, or the store's `not-found`. */
export async function readPackTable(
  store: BlobStore,
  keys: KeyRing,
  pack: { name: string; size: number },
  signal: AbortSignal,
): Promise<PackTable> {
  const { name, size } = pack;
  const trailer = new Uint8Array(trailerLength);
  const header = new Uint8Array(headerLength);
  const got = await store.read(name, Math.max(0, size - trailerLength), trailer, { signal });
  const { offset, length } = parseTrailer(trailer.subarray(0, got), size, name);
  const frame = new Uint8Array(length);
  await store.read(name, 0, header, { signal });
  await store.read(name, offset, frame, { signal });
  const { epoch } = parseHeader(header, "PACK", name);
  const records = parseTable(new ObjectCipher(keys.keyOf(epoch), header, name).open(frame, offset), offset, name);
  return { records, entries: tableEntries(records), indexed: { name, tableOffset: offset, tableLength: length } };
}

export type StoredPack = Pick<FinishedPack, "name" | "tableOffset" | "tableLength" | "entries">;
