import { randomBytes } from "node:crypto";
import { isUnreadable } from "../../errors.ts";
import { type CondemnedPack, parseWait, pointsText } from "../../format/gc.ts";
import { limits, objectName } from "../../format/objects.ts";
import type { VaultParts } from "../../parts.ts";
import { type BlobInfo, isNotFound } from "../../store/blob-store.ts";
import { halfDead, type HalfDead, otherPlaces } from "./rewrite.ts";
import { activeSessions, ownerOf, sizeOf, type Survey } from "./survey.ts";

export interface Choice {
  readonly dead: readonly { readonly name: string; readonly size: number }[];
  /** Most dead first, within the bound. */
  readonly half: readonly HalfDead[];
  /** Packs that should be rewritten, but for the bound. */
  readonly postponed: number;
}

export interface ChoiceOptions {
  readonly maxPacks: number;
  /** Of the packs that are rewritten, as stored. */
  readonly maxRewriteBytes: number;
  /** A pack is rewritten when more than this share of its items is dead. */
  readonly maxDeadShare: number;
  /** Packs that are to go although all of them is needed. */
  readonly unwanted?: (pack: string) => Promise<boolean>;
}

/** Which packs to condemn and which to rewrite; orphans are looked at by {@link deadOrphans}. */
export async function choosePacks(
  parts: VaultParts,
  { segments, active }: Survey,
  options: ChoiceOptions,
  signal: AbortSignal,
): Promise<Choice> {
  const dead = new Map<string, { name: string; size: number }>();
  const half: { pack: HalfDead; share: number }[] = [];
  const seen = new Set<string>();
  for (const count of segments) {
    if (count.broken) continue;
    for (const [number, indexed] of count.segment.head.packs.entries()) {
      const { name } = indexed;
      if (count.items[number] === 0 || active.has(ownerOf(name)) || parts.index.condemned.has(name)) continue;
      const share = 1 - count.live[number]! / count.items[number]!;
      if (count.live[number] === 0) dead.set(name, { name, size: sizeOf(indexed) });
      else if ((share > options.maxDeadShare || (await options.unwanted?.(name))) && !seen.has(name)) {
        seen.add(name);
        half.push({ pack: halfDead(count, number), share });
      }
    }
  }
  half.sort((a, b) => b.share - a.share);
  const free = await firstFree(parts, dead.values(), { packs: options.maxPacks, bytes: Infinity }, signal);
  const bound = { packs: options.maxPacks - free.length, bytes: options.maxRewriteBytes };
  const within = await firstFree(
    parts,
    half.map(({ pack }) => pack),
    bound,
    signal,
  );
  return { dead: free, half: within, postponed: half.length - within.length };
}

const statsAtOnce = 64;

/** The first of the packs within the bound, but for those that the storage's own lock keeps. */
async function firstFree<P extends { readonly name: string; readonly size: number }>(
  { store, clock }: VaultParts,
  packs: Iterable<P>,
  bound: { readonly packs: number; readonly bytes: number },
  signal: AbortSignal,
): Promise<P[]> {
  const free: P[] = [];
  let bytes = 0;
  const all = [...packs];
  const lookUp = async (name: string): Promise<BlobInfo | undefined> =>
    store.enforcesRetention ? await store.stat(name, { signal }) : undefined;
  for (let first = 0; first < all.length; first += statsAtOnce) {
    const some = all.slice(first, first + statsAtOnce);
    const infos = await Promise.all(some.map(({ name }) => lookUp(name)));
    for (const [i, pack] of some.entries()) {
      if (free.length >= bound.packs || bytes + pack.size > bound.bytes) return free;
      if ((infos[i]?.retainUntil ?? 0) > clock.now()) continue;
      bytes += pack.size;
      free.push(pack);
    }
  }
  return free;
}

/** Packs without an index of which nothing is needed that has no other place: what dead sessions left. */
export async function deadOrphans(parts: VaultParts, orphans: Survey["orphans"], signal: AbortSignal): Promise<CondemnedPack[]> {
  const names = new Set(orphans.map(({ name }) => name));
  const dead: CondemnedPack[] = [];
  for (const { name, needed } of orphans) {
    if (parts.index.condemned.has(name)) continue;
    const to = await otherPlaces(parts, needed, (pack) => names.has(pack), signal);
    if (to) dead.push({ pack: name, to });
  }
  return dead;
}

/** Condemns the packs: from here on no new session counts on them. The mark's id. */
export async function writeMark(
  parts: VaultParts,
  packs: readonly CondemnedPack[],
  points: Iterable<string>,
  signal: AbortSignal,
): Promise<string> {
  const mark = randomBytes(8).toString("hex");
  const name = objectName.mark(mark);
  const time = new Date(parts.clock.now()).toISOString();
  await parts.store.put(name, [parts.keys.sealJson("MARK", name, { packs, points: pointsText(points), time })], { signal });
  return mark;
}

/** The sessions that a mark waits for, listed now if nobody did since the mark is durable. */
export async function sessionsOfMark(parts: VaultParts, mark: string, signal: AbortSignal): Promise<string[]> {
  const { store, keys } = parts;
  const name = objectName.wait(mark);
  const read = async (): Promise<string[] | undefined> => {
    try {
      return parseWait(keys.openJson(await store.get(name, { signal, maxBytes: limits.jsonBytes }), "WAIT", name), name);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      if (!isUnreadable(error)) throw error;
      // Any list that is made after the mark will do.
      await store.delete(name, { signal });
      return undefined;
    }
  };
  const known = await read();
  if (known) return known;
  const sessions = [...(await activeSessions(parts, signal))];
  await store.put(name, [keys.sealJson("WAIT", name, { sessions })], { signal });
  return (await read()) ?? sessions;
}
