import { randomBytes } from "node:crypto";
import { isUnreadable, VaultError } from "../errors.ts";
import { isVoid } from "../format/envelope.ts";
import type { SessionContent } from "../format/gc.ts";
import { hex, Namer, nameLength, pointOfSession } from "../format/names.ts";
import { batchName, limits, objectName } from "../format/objects.ts";
import { type FinishedPack, packEntryLength } from "../format/pack.ts";
import type { ItemKind } from "../format/record.ts";
import { encodeSegment, entryLength, type IndexedPack } from "../format/segment.ts";
import { NameTable } from "../index/name-table.ts";
import { type PackTable, readPackTable, type StoredPack } from "../index/vault-index.ts";
import type { VaultParts } from "../parts.ts";
import { isNotFound } from "../store/blob-store.ts";
import { Sealer } from "../work/sealer.ts";
import { giveUp, readSession } from "./give-up.ts";

const maxPacksInFlight = 2;
/** What a cancelled session may take to remove its object. */
const farewellMs = 5000;

interface Adopted {
  readonly session: string;
  readonly point: string | undefined;
}

/**
 * One writer's packs, batch by batch, in the order that docs/formats/vault.md, section 9, asks for. Its
 * object tells other machines that packs without an index belong to somebody, and the next put of the same
 * name which packs it may adopt.
 */
export class WriteSession {
  readonly id: string = randomBytes(8).toString("hex");
  /** The id of the point that the session makes, where it makes one. */
  readonly point: Uint8Array;
  readonly namer: Namer;
  /** Names that this batch stores or will store. */
  readonly claims = new NameTable(0);
  storedBytes = 0;
  packs = 0;
  newItems = 0;
  readonly #parts: VaultParts;
  readonly #signal: AbortSignal;
  readonly #nodes: Sealer;
  /** Of chunks that are kept; a put's own are sealed by threads. */
  readonly #chunks: Sealer;
  readonly #inFlight = new Set<Promise<void>>();
  #number = 0;
  #indexed: IndexedPack[] = [];
  #entries: Uint8Array[] = [];
  #count = 0;
  #failure: { error: unknown } | undefined;
  #adopted: Adopted[] = [];
  /** Packs of the batch that is not indexed yet. */
  readonly #own = new Set<string>();
  readonly #gently: (() => boolean) | undefined;
  #makesPoint = false;
  /** An index or a point was not heard of: it may still appear. */
  #unsure = false;

  /** `gently`: asked for each pack; see the stores' `PutOptions`. */
  constructor(parts: VaultParts, signal: AbortSignal, { gently }: { readonly gently?: (() => boolean) | undefined } = {}) {
    this.#parts = parts;
    this.#gently = gently;
    this.#signal = signal;
    this.point = pointOfSession(parts.keys.names, this.id);
    this.namer = new Namer(parts.keys.names.node);
    const { level, packBytes, recordBytes } = parts.tuning;
    const onPack = (pack: FinishedPack): void => {
      const { name, buffer, length, tableOffset, tableLength, entries } = pack;
      this.takePack({ name, bytes: buffer.subarray(0, length), tableOffset, tableLength, entries }).catch(() => undefined);
    };
    const key = parts.keys.current;
    this.#nodes = new Sealer({ kind: "tree", key, level, recordBytes, packBytes: Math.min(packBytes, 4 << 20), onPack });
    this.#chunks = new Sealer({ kind: "data", key, level, recordBytes, packBytes, onPack });
    this.#nodes.begin(this.batch);
    this.#chunks.begin(this.batch);
  }

  get batch(): string {
    return batchName(this.id, this.#number);
  }

  /** True when the batch should be closed. */
  get full(): boolean {
    return this.#count >= this.#parts.tuning.batchEntries;
  }

  /**
   * Writes the session's object, then reads marks and indexes: in this order, so that every gc either is seen
   * here or waits for this session. With the name of a VM it adopts what interrupted sessions of the same
   * name left; an empty one is for sessions that are no put, and that make a point only with `makesPoint`.
   */
  async start(name: string, { makesPoint = name !== "" } = {}): Promise<{ readonly adoptedPacks: number }> {
    const { store, keys, clock } = this.#parts;
    this.#makesPoint = makesPoint;
    const point = makesPoint ? { point: hex(this.point) } : {};
    const content: SessionContent = { name, started: new Date(clock.now()).toISOString(), ...point };
    const object = objectName.session(this.id);
    try {
      await store.put(object, [keys.sealJson("SESS", object, content)], { signal: this.#signal });
      return await this.#readOthers(name);
    } catch (error) {
      // Nobody would adopt it, and gc would wait for it.
      if (name === "") await this.end();
      throw error;
    }
  }

  async #readOthers(name: string): Promise<{ readonly adoptedPacks: number }> {
    const { index } = this.#parts;
    const [, adopted] = await Promise.all([index.refresh(this.#signal), name === "" ? [] : this.#sessionsOf(name)]);
    const before = this.#indexed.length;
    this.#adopted = adopted;
    for (const { session } of this.#adopted) await this.#adopt(session);
    return { adoptedPacks: this.#indexed.length - before };
  }

  async #sessionsOf(name: string): Promise<Adopted[]> {
    const sessions: Adopted[] = [];
    for await (const { name: object } of this.#parts.store.list("session/", { signal: this.#signal })) {
      const session = object.slice("session/".length);
      if (session === this.id) continue;
      try {
        const content = await readSession(this.#parts, session, this.#signal);
        if (content?.name === name) sessions.push({ session, point: content.point });
      } catch (error) {
        if (!isUnreadable(error)) throw error;
      }
    }
    return sessions;
  }

  async #adopt(session: string): Promise<void> {
    for (let number = 0; ; number += 1) {
      const batch = batchName(session, number);
      if (this.#parts.index.segments.some((segment) => segment.batch === batch)) continue;
      let found = 0;
      for (const kind of ["data", "tree"]) {
        for await (const pack of this.#parts.store.list(`${kind}/${batch}/`, { signal: this.#signal })) {
          found += 1;
          await this.#adoptPack(pack);
        }
      }
      if (found === 0) return;
    }
  }

  async #adoptPack(pack: { name: string; size: number }): Promise<void> {
    const { store, keys, index } = this.#parts;
    if (index.condemned.has(pack.name)) return;
    try {
      this.adopt(await readPackTable(store, keys, pack, this.#signal));
    } catch (error) {
      if (!isUnreadable(error) && !isNotFound(error)) throw error;
    }
  }

  /** Takes a stored pack into this batch's index. */
  adopt({ indexed, entries }: PackTable): void {
    this.#enter({ ...indexed, entries });
  }

  /** Stores a pack; resolves when it is durable and known. */
  takePack(pack: StoredPack & { readonly bytes: Uint8Array }): Promise<void> {
    const storing = this.#store(pack);
    this.#inFlight.add(storing);
    const gone = (): boolean => this.#inFlight.delete(storing);
    storing.then(gone, (error: unknown) => {
      this.#failure ??= { error };
      gone();
    });
    return storing;
  }

  async #store(pack: StoredPack & { readonly bytes: Uint8Array }): Promise<void> {
    await this.#parts.store.put(pack.name, [pack.bytes], { signal: this.#signal, steady: this.#gently?.() ?? false });
    this.storedBytes += pack.bytes.length;
    this.packs += 1;
    this.newItems += pack.entries.length / packEntryLength;
    this.#enter(pack);
  }

  #enter(pack: StoredPack): void {
    const number = this.#indexed.length;
    this.#indexed.push({ name: pack.name, tableOffset: pack.tableOffset, tableLength: pack.tableLength });
    const count = pack.entries.length / packEntryLength;
    const entries = new Uint8Array(count * entryLength);
    const view = new DataView(entries.buffer);
    for (let i = 0; i < count; i += 1) {
      const from = i * packEntryLength;
      entries.set(pack.entries.subarray(from, from + nameLength), i * entryLength);
      view.setUint32(i * entryLength + nameLength, number, true);
      entries.set(pack.entries.subarray(from + nameLength, from + packEntryLength), i * entryLength + nameLength + 4);
    }
    this.#entries.push(entries);
    this.#count += count;
    this.#own.add(pack.name);
    this.#parts.index.pending.add(pack.name);
    this.#parts.index.learn(pack.name, pack.entries);
  }

  /** Resolves when another pack may be begun; throws what a pack failed with. */
  async room(): Promise<void> {
    while (this.#inFlight.size >= maxPacksInFlight) await Promise.race(this.#inFlight).catch(() => undefined);
    if (this.#failure) throw this.#failure.error;
  }

  /** Stores an item again, whatever the vault has; the caller has claimed its name and gives it {@link room}. */
  keep(kind: ItemKind, name: Uint8Array, content: Uint8Array): void {
    if (kind === "chunk") this.#chunks.add(name, content);
    else this.#nodes.add(name, content);
  }

  /** Writes a segment of the session's next batch, which has no packs of its own. */
  async writeIndex(packs: readonly IndexedPack[], entries: Uint8Array, options: { readonly sorted: boolean }): Promise<void> {
    if (this.#count > 0) throw new Error("the session's batch has packs of its own");
    await this.#putIndex(encodeSegment(this.#parts.keys.current, this.batch, packs, entries, options));
  }

  /** Stores a tree node, unless the vault has it. */
  readonly emitNode = async (name: Uint8Array, node: Uint8Array): Promise<void> => {
    if (this.claims.find(name) >= 0 || (await this.has(name)) || !this.claims.add(name).added) return;
    this.#nodes.add(name, node);
    await this.room();
  };

  /** True when a pack of this batch has the item. */
  hasNearby(name: Uint8Array): boolean {
    const near = this.#parts.index.nearby(name);
    return near !== undefined && this.#own.has(near.pack);
  }

  /** True when the vault surely has the item whole, durable and indexed or in this batch. */
  async has(name: Uint8Array): Promise<boolean> {
    const { index } = this.#parts;
    if (this.hasNearby(name)) return true;
    if (index.surelyNew(name)) return false;
    return (await index.find(name, this.#signal, true)) !== undefined;
  }

  /** Resolves when nothing is being stored any more, however that went. */
  async settle(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.allSettled(this.#inFlight);
  }

  /** Closes the batch: its packs durable, then its index. `flushed` settles when the worker threads have given theirs. */
  async closeBatch(flushed?: Promise<void>): Promise<void> {
    this.#nodes.flush();
    this.#chunks.flush();
    await flushed;
    await this.settle();
    if (this.#failure) throw this.#failure.error;
    if (this.#count > 0) {
      const entries = new Uint8Array(Buffer.concat(this.#entries));
      await this.#putIndex(encodeSegment(this.#parts.keys.current, this.batch, this.#indexed, entries));
    }
    this.#indexed = [];
    this.#entries = [];
    this.#count = 0;
    this.claims.clear();
  }

  async #putIndex(segment: Uint8Array): Promise<void> {
    const { store, index } = this.#parts;
    this.#unsure = true;
    const result = await store.put(objectName.index(this.batch), [segment], { signal: this.#signal });
    if (result === "exists") await this.#expectOwn(segment);
    this.#unsure = false;
    this.storedBytes += segment.length;
    index.take(this.batch, segment);
    for (const pack of this.#own) index.pending.delete(pack);
    this.#own.clear();
    // Without gaps: who takes this session for dead takes the next number's name.
    this.#number += 1;
    this.#nodes.begin(this.batch);
    this.#chunks.begin(this.batch);
  }

  async #expectOwn(segment: Uint8Array): Promise<void> {
    const stored = await this.#parts.store.get(objectName.index(this.batch), { signal: this.#signal, maxBytes: limits.indexBytes });
    if (isVoid(stored)) throw this.#givenUp();
    if (Buffer.compare(stored, segment) !== 0)
      throw new VaultError("invalid", `somebody else writes as session ${this.id}`, { session: this.id });
  }

  /** Makes the point: the object that was sealed for {@link point}. Throws `given-up`. */
  async commit(object: Uint8Array): Promise<void> {
    const { store } = this.#parts;
    const name = objectName.point(hex(this.point));
    this.#unsure = true;
    const result = await store.put(name, [object], { signal: this.#signal });
    const stored = result === "created" ? object : await store.get(name, { signal: this.#signal, maxBytes: limits.jsonBytes });
    if (Buffer.compare(stored, object) !== 0) throw this.#givenUp();
    this.#unsure = false;
  }

  #givenUp(): VaultError {
    const why = "another put of the same name finished first, or gc saw no sign of life for days";
    return new VaultError("given-up", `session ${this.id} was taken for dead: ${why}; run it again, what it stored may be used`, {
      session: this.id,
    });
  }

  /**
   * Gives up the sessions that it adopted, and removes its own object: what they hold is indexed now. Where
   * that fails, for want of the right to delete for instance, gc does it one day; the point is safe all the same. Also after
   * an error or a cancel, of a session that is no put: until then every gc would wait for it.
   */
  async end(): Promise<void> {
    const { store } = this.#parts;
    const signal = this.#signal;
    const removals = this.#adopted.map(({ session, point }) => giveUp(this.#parts, session, point, signal));
    const leave = (signal: AbortSignal): Promise<void> =>
      this.#unsure
        ? giveUp(this.#parts, this.id, this.#makesPoint ? hex(this.point) : undefined, signal)
        : store.delete(objectName.session(this.id), { signal });
    const own = leave(signal).catch(async (error: unknown) => {
      if (!signal.aborted) throw error;
      await leave(AbortSignal.timeout(farewellMs));
    });
    await Promise.allSettled([...removals, own]);
  }
}
