import { describeError } from "@godwit/core";
import { isUnreadable } from "../../errors.ts";
import { type CondemnedPack, parseDoom } from "../../format/gc.ts";
import { limits, objectName } from "../../format/objects.ts";
import type { Point } from "../../format/point.ts";
import { isClearOf, type StandingMark } from "../../index/condemned.ts";
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

/** What was decided about a mark that stands; undefined when nothing was. */
async function believedDoom({ store, keys }: VaultParts, mark: string, signal: AbortSignal): Promise<string[] | undefined> {
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

/** Hears what points need of the condemned packs, and spares those. */
class Jury {
  readonly #parts: VaultParts;
  readonly #mark: StandingMark;
  readonly #signal: AbortSignal;
  readonly #packs: ReadonlySet<string>;
  readonly #spared = new Set<string>();
  readonly #present = new Map<string, boolean>();

  constructor(parts: VaultParts, mark: StandingMark, signal: AbortSignal) {
    this.#parts = parts;
    this.#mark = mark;
    this.#signal = signal;
    this.#packs = new Set(mark.content?.packs.map(({ pack }) => pack));
  }

  get doomed(): string[] {
    return [...this.#packs].filter((pack) => !this.#spared.has(pack));
  }

  async hear(points: readonly Point[]): Promise<void> {
    for (const condemned of this.#mark.content?.packs ?? []) if (!(await this.#mayGo(condemned))) this.#spared.add(condemned.pack);
    for (const point of points) {
      if (this.#packs.size === this.#spared.size) return;
      if (!isClearOf(point, this.#mark)) await this.#hearPoint(point, points);
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
    for await (const { pack } of index.soundPlaces(name, () => false, this.#signal)) if (await this.#isThere(pack)) return;
    for await (const { pack } of index.places(name, this.#signal)) if (this.#packs.has(pack)) this.#spared.add(pack);
  }

  async #isThere(pack: string): Promise<boolean> {
    const known = this.#present.get(pack);
    if (known !== undefined) return known;
    const there = (await this.#parts.store.stat(pack, { signal: this.#signal })) !== undefined;
    this.#present.set(pack, there);
    return there;
  }
}
