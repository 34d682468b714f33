import { isUnreadable } from "../../errors.ts";
import { hex } from "../../format/names.ts";
import type { CondemnedPack } from "../../format/gc.ts";
import { readPackTable } from "../../index/vault-index.ts";
import type { VaultParts } from "../../parts.ts";
import { isNotFound } from "../../store/blob-store.ts";
import type { WriteSession } from "../session.ts";
import { ItemReader } from "./open-items.ts";
import { type SegmentCount, sizeOf } from "./survey.ts";

/** A pack of which something is needed and that shall go. */
export interface HalfDead {
  readonly name: string;
  readonly size: number;
  readonly count: SegmentCount;
  /** The pack's number in that segment. */
  readonly number: number;
}

export interface Rewritten {
  readonly packs: readonly CondemnedPack[];
  /** Unpacked bytes that were stored again. */
  readonly copiedBytes: number;
}

export function halfDead(count: SegmentCount, number: number): HalfDead {
  const indexed = count.segment.head.packs[number]!;
  return { name: indexed.name, size: sizeOf(indexed), count, number };
}

/**
 * Stores what is needed of the packs again, unless it has a place outside of them, and closes the session's
 * batch. Resolves to the packs of which now everything has another place, with where. What is damaged stays.
 */
export async function rewritePacks(
  parts: VaultParts,
  session: WriteSession,
  wanted: readonly HalfDead[],
  signal: AbortSignal,
): Promise<Rewritten> {
  const names = new Set(wanted.map(({ name }) => name));
  const excluded = (pack: string): boolean => names.has(pack);
  const reader = new ItemReader(parts);
  const copied: { pack: string; live: Uint8Array[] }[] = [];
  let copiedBytes = 0;
  for (const pack of wanted) {
    signal.throwIfAborted();
    try {
      const live = await liveItems(parts, pack, signal);
      copiedBytes += await copyItems(parts, session, reader, { pack, live, excluded }, signal);
      copied.push({ pack: pack.name, live: [...live.values()] });
    } catch (error) {
      if (!isUnreadable(error) && !isNotFound(error)) throw error;
    }
    if (session.full) await session.closeBatch();
  }
  await session.closeBatch();
  const packs: CondemnedPack[] = [];
  for (const { pack, live } of copied) {
    const to = await otherPlaces(parts, live, excluded, signal);
    if (to) packs.push({ pack, to });
  }
  return { packs, copiedBytes };
}

/** The items of a pack that the survey found to be needed, by the hex of their names. Throws `corrupt` or the store's `not-found`. */
export async function liveItems(parts: VaultParts, { name, size, count }: HalfDead, signal: AbortSignal): Promise<Map<string, Uint8Array>> {
  const { records } = await readPackTable(parts.store, parts.keys, { name, size }, signal);
  const live = new Map<string, Uint8Array>();
  for (const item of records.flatMap(({ items }) => items)) {
    const ordinal = await count.segment.ordinalOfName(item.name, signal);
    // What the segment does not know was not surveyed.
    if (ordinal < 0 || (count.bits[ordinal >> 3]! & (1 << (ordinal & 7))) !== 0) live.set(hex(item.name), Uint8Array.from(item.name));
  }
  return live;
}

interface Copying {
  readonly pack: HalfDead;
  readonly live: ReadonlyMap<string, Uint8Array>;
  readonly excluded: (pack: string) => boolean;
}

/** The bytes that were stored. */
async function copyItems(
  parts: VaultParts,
  session: WriteSession,
  reader: ItemReader,
  { pack, live, excluded }: Copying,
  signal: AbortSignal,
): Promise<number> {
  const needed = new Set<string>();
  for (const [key, name] of live) {
    if (session.claims.find(name) < 0 && (await otherPlaces(parts, [name], excluded, signal)) === undefined) needed.add(key);
  }
  if (needed.size === 0) return 0;
  const { records } = await readPackTable(parts.store, parts.keys, pack, signal);
  let bytes = 0;
  for (const record of records) {
    if (!record.items.some(({ name }) => needed.has(hex(name)))) continue;
    for (const { kind, name, content } of await reader.open(pack.name, record, (one) => needed.has(hex(one)), signal)) {
      if (!session.claims.add(name).added) continue;
      session.keep(kind, name, content);
      bytes += content.length;
    }
    await session.room();
  }
  return bytes;
}

/** Packs in which each of the names is found besides the excluded ones; undefined when one is not. */
export async function otherPlaces(
  parts: VaultParts,
  names: readonly Uint8Array[],
  excluded: (pack: string) => boolean,
  signal: AbortSignal,
): Promise<string[] | undefined> {
  const packs = new Set<string>();
  for (const name of names) {
    let found = false;
    for await (const place of parts.index.soundPlaces(name, excluded, signal)) {
      packs.add(place.pack);
      found = true;
      break;
    }
    if (!found) return undefined;
  }
  return [...packs];
}
