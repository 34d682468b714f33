import { randomBytes } from "node:crypto";
import { isUnreadable } from "../../errors.ts";
import { type CondemnedPack, parseWait, pointsText } from "../../format/gc.ts";
import { limits, objectName } from "../../format/objects.ts";
import type { VaultParts } from "../../parts.ts";
import { isNotFound } from "../../store/blob-store.ts";
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
export async function choosePacks(parts: VaultParts, { segments, active }: Survey, options: ChoiceOptions): Promise<Choice> {
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
  const within: HalfDead[] = [];
  let bytes = 0;
  for (const { pack } of half) {
    if (bytes + pack.size > options.maxRewriteBytes || within.length + dead.size >= options.maxPacks) break;
    bytes += pack.size;
    within.push(pack);
  }
  return { dead: [...dead.values()].slice(0, options.maxPacks), half: within, postponed: half.length - within.length };
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
