import { describeError } from "@godwit/core";
import { isUnreadable, VaultError } from "../../errors.ts";
import { type CondemnedPack, parseDoom } from "../../format/gc.ts";
import { hex } from "../../format/names.ts";
import { limits, objectName } from "../../format/objects.ts";
import type { Point } from "../../format/point.ts";
import { isClearOf, type StandingMark } from "../../index/condemned.ts";
import { readPackTable } from "../../index/vault-index.ts";
import type { VaultParts } from "../../parts.ts";
import { isNotFound } from "../../store/blob-store.ts";
import { neededBeyond } from "../base.ts";
import { listPoints } from "../points.ts";
import { sessionsOfMark } from "./condemn.ts";
import { activeSessions } from "./survey.ts";

/** What is to become of a mark. */
export type Verdict =
  | { readonly kind: "doomed"; readonly packs: readonly string[]; readonly spared: number }
  | { readonly kind: "waiting"; readonly sessions: readonly string[] }
  /** Points that are not known to be clear of it cannot be read. */
  | { readonly kind: "unknown"; readonly why: string }
  /** Another gc has finished with it. */
  | { readonly kind: "gone" };

/**
 * Decides which packs of a mark are deleted, for good and for all, unless somebody did already:
 * docs/formats/vault.md, section 13, steps 2 and 3.
 */
export async function decide(parts: VaultParts, mark: StandingMark, signal: AbortSignal): Promise<Verdict> {
  const decided = await believedDoom(parts, mark.id, signal);
  if (decided !== undefined) return verdictOf(mark, decided);
  const waited = await sessionsOfMark(parts, mark.id, signal);
  const active = await activeSessions(parts, signal);
  const pending = waited.filter((session) => active.has(session));
  if (pending.length > 0) return { kind: "waiting", sessions: pending };
  const { points, damaged, locked } = await listPoints(parts, { signal, all: true });
  await parts.index.refresh(signal);
  const unreadable = [...damaged, ...locked].find((id) => !isClearOf({ id }, mark));
  if (unreadable !== undefined) return { kind: "unknown", why: `recovery point ${unreadable.slice(0, 12)} cannot be read` };
  const jury = new Jury(parts, mark, signal);
  try {
    await jury.hear(points);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return { kind: "unknown", why: describeError(error) };
  }
  return await pronounce(parts, mark, jury.doomed, signal);
}

function verdictOf({ content }: StandingMark, packs: readonly string[]): Verdict {
  return { kind: "doomed", packs, spared: Math.max(0, (content?.packs.length ?? 0) - packs.length) };
}

async function pronounce(parts: VaultParts, mark: StandingMark, packs: readonly string[], signal: AbortSignal): Promise<Verdict> {
  const { store, keys } = parts;
  const name = objectName.doom(mark.id);
  const created = (await store.put(name, [keys.sealJson("DOOM", name, { packs })], { signal })) === "created";
  const believed = await believedDoom(parts, mark.id, signal);
  if (believed !== undefined) return verdictOf(mark, believed);
  // The mark was dealt with meanwhile, and this doom has come too late to mean anything.
  if (created) await store.delete(name, { signal });
  return { kind: "gone" };
}

/** Has nothing of a mark deleted, unless somebody decided otherwise before; then the mark goes. */
export async function spareAll(parts: VaultParts, mark: StandingMark, signal: AbortSignal): Promise<void> {
  const verdict = await pronounce(parts, mark, [], signal);
  if (verdict.kind === "doomed" && verdict.packs.length === 0) await removeMark(parts, mark.id, signal);
}

/** The mark first: a wait or a doom without one is void. */
export async function removeMark({ store }: Pick<VaultParts, "store">, mark: string, signal: AbortSignal): Promise<void> {
  await store.delete(objectName.mark(mark), { signal });
  await store.delete(objectName.wait(mark), { signal });
  await store.delete(objectName.doom(mark), { signal });
}

/** What was decided about a mark that stands; undefined when nothing was. */
export async function believedDoom({ store, keys }: VaultParts, mark: string, signal: AbortSignal): Promise<string[] | undefined> {
  const name = objectName.doom(mark);
  let packs: string[];
  try {
    packs = parseDoom(keys.openJson(await store.get(name, { signal, maxBytes: limits.jsonBytes }), "DOOM", name), name);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    if (!isUnreadable(error)) throw error;
    // Nobody can carry out what nobody can read; nothing of it is deleted but the mark.
    packs = [];
  }
  return (await store.stat(objectName.mark(mark), { signal })) ? packs : undefined;
}

const looksAtOnce = 32;
const mostUnindexed = 4096;

/** Hears what points need of the condemned packs, and spares those. */
class Jury {
  readonly #parts: VaultParts;
  readonly #mark: StandingMark;
  readonly #signal: AbortSignal;
  readonly #packs: ReadonlySet<string>;
  readonly #spared = new Set<string>();
  readonly #present = new Map<string, boolean>();
  /** Names in condemned packs that no index mentions, and the pack. */
  readonly #unindexed = new Map<string, string>();

  constructor(parts: VaultParts, mark: StandingMark, signal: AbortSignal) {
    this.#parts = parts;
    this.#mark = mark;
    this.#signal = signal;
    this.#packs = new Set(mark.content?.packs.map(({ pack }) => pack));
  }

  get doomed(): string[] {
    return [...this.#packs].filter((pack) => !this.#spared.has(pack));
  }

  /** Throws `missing` when a point needs what is nowhere to be found: then nothing is known. */
  async hear(points: readonly Point[]): Promise<void> {
    const condemned = this.#mark.content?.packs ?? [];
    for (let first = 0; first < condemned.length; first += looksAtOnce) {
      const some = condemned.slice(first, first + looksAtOnce);
      const free = await Promise.all(some.map((one) => this.#mayGo(one)));
      for (const [i, { pack }] of some.entries()) if (!free[i]) this.#spared.add(pack);
    }
    const unclear = points.filter((point) => !isClearOf(point, this.#mark));
    if (unclear.length > 0) await this.#readUnindexed();
    for (const point of unclear) {
      if (this.#packs.size === this.#spared.size) return;
      await this.#hearPoint(point, points);
    }
  }

  /** Condemned packs that no index mentions, because one was lost, have to be asked themselves. */
  async #readUnindexed(): Promise<void> {
    const { store, keys, index } = this.#parts;
    const mentioned = new Set(
      index.segments.flatMap(({ head }) => head.packs.map(({ name }) => name)).filter((name) => this.#packs.has(name)),
    );
    const silent = this.doomed.filter((pack) => !mentioned.has(pack));
    if (silent.length > mostUnindexed) throw new VaultError("missing", `${silent.length} condemned packs are in no index; run repair`);
    for (const pack of silent) {
      const info = await store.stat(pack, { signal: this.#signal });
      if (!info) continue;
      const { records } = await readPackTable(store, keys, info, this.#signal);
      for (const { name } of records.flatMap(({ items }) => items)) this.#unindexed.set(hex(name), pack);
    }
  }

  /** Whether the copies of what it holds are there to be counted on, and the storage does not forbid its end. */
  async #mayGo({ pack, to }: CondemnedPack): Promise<boolean> {
    const { store, index, clock } = this.#parts;
    for (const copy of to) if (index.condemned.has(copy) || !(await this.#isThere(copy))) return false;
    if (!store.enforcesRetention) return true;
    const info = await store.stat(pack, { signal: this.#signal });
    return (info?.retainUntil ?? 0) <= clock.now();
  }

  async #hearPoint(point: Point, points: readonly Point[]): Promise<void> {
    const beside = points.filter((one) => one.name === point.name && isClearOf(one, this.#mark));
    const clear = beside.findLast(({ time }) => time <= point.time) ?? beside[0];
    try {
      for await (const name of neededBeyond(this.#parts, point, clear, this.#signal)) await this.#hearName(name);
    } catch (error) {
      // A point that was deleted meanwhile needs nothing.
      if (await this.#parts.store.stat(objectName.point(point.id), { signal: this.#signal })) throw error;
    }
  }

  async #hearName(name: Uint8Array): Promise<void> {
    const { index } = this.#parts;
    // Mostly a neighbour of the last one, of which nothing needs to be looked up.
    const place = await index.find(name, this.#signal, true);
    if (place && (await this.#isThere(place.pack))) return;
    for await (const { pack } of index.soundPlaces(name, () => false, this.#signal)) if (await this.#isThere(pack)) return;
    let found = false;
    for await (const { pack } of index.places(name, this.#signal)) {
      found = true;
      if (this.#packs.has(pack)) this.#spared.add(pack);
    }
    const unindexed = this.#unindexed.get(hex(name));
    if (unindexed !== undefined) this.#spared.add(unindexed);
    else if (!found)
      throw new VaultError("missing", "a recovery point needs what is in no pack that an index knows; run repair and verify");
  }

  async #isThere(pack: string): Promise<boolean> {
    const known = this.#present.get(pack);
    if (known !== undefined) return known;
    const there = (await this.#parts.store.stat(pack, { signal: this.#signal })) !== undefined;
    this.#present.set(pack, there);
    return there;
  }
}
