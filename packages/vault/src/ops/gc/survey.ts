import { describeError, Semaphore } from "@godwit/core";
import { isDamage, isUnreadable, VaultError } from "../../errors.ts";
import { nameLength } from "../../format/names.ts";
import { objectName, sessionOf } from "../../format/objects.ts";
import type { Point } from "../../format/point.ts";
import { entryLength, type IndexedPack } from "../../format/segment.ts";
import type { SegmentReader } from "../../index/segment-reader.ts";
import { readPackTable } from "../../index/vault-index.ts";
import type { VaultParts } from "../../parts.ts";
import { isNotFound } from "../../store/blob-store.ts";
import { newNames } from "../../tree/new-names.ts";
import { treeBeside } from "../base.ts";
import { treeOf } from "../disk-writer.ts";
import { listPoints } from "../points.ts";
import { inRange, LiveFilter, type NameRange, rangesFor } from "./live-filter.ts";

/** What is needed of one index segment. */
export interface SegmentCount {
  readonly segment: SegmentReader;
  /** By number of the pack: its items, and those that are needed. */
  readonly items: Uint32Array;
  readonly live: Uint32Array;
  /** A bit per entry. */
  readonly bits: Uint8Array;
  /** It could not be read to its end: nothing is known about its packs. */
  broken: boolean;
}

export interface SurveyProgress {
  /** Passes over the trees: one where memory suffices. */
  readonly pass: number;
  readonly passes: number;
  /** Names that were found to be needed so far. */
  readonly names: number;
}

export interface Survey {
  readonly points: readonly Point[];
  readonly segments: readonly SegmentCount[];
  /** Sessions that were active; their packs are nobody's business. */
  readonly active: ReadonlySet<string>;
  /** Packs that no index mentions and no active session owns. */
  readonly orphans: readonly Orphan[];
  readonly passes: number;
}

/** A pack that no index mentions. */
export interface Orphan {
  readonly name: string;
  readonly size: number;
  readonly items: readonly Uint8Array[];
  /** Those of its items that points need. */
  readonly needed: Uint8Array[];
}

export interface SurveyOptions {
  readonly signal: AbortSignal;
  /** For the names of one pass. More names take more passes over the trees. */
  readonly memoryBytes: number;
  readonly onProgress?: (progress: SurveyProgress) => void;
}

/** Each reads ahead; more of them would only push each other out of the cache of nodes. */
const chainsAtOnce = 2;
const mostOrphans = 4096;
const mostOrphanItems = 1 << 20;

/** The ids of all active sessions. */
export async function activeSessions({ store }: Pick<VaultParts, "store">, signal: AbortSignal): Promise<Set<string>> {
  const sessions = new Set<string>();
  for await (const { name } of store.list("session/", { signal })) sessions.add(name.slice("session/".length));
  return sessions;
}

/**
 * Finds what of each pack is needed, reading indexes and trees but no data: docs/formats/vault.md, section
 * 13. Memory: the filter, a bit per index entry and 8 bytes per pack. Throws `corrupt` or `locked` when a
 * point or tree cannot be read, as what it needs is then unknown.
 */
export async function survey(parts: VaultParts, options: SurveyOptions): Promise<Survey> {
  const { signal } = options;
  const { index } = parts;
  const unknown = await unindexedPacks(parts, signal);
  const active = await activeSessions(parts, signal);
  const { points, damaged, locked } = await listPoints(parts, { signal, all: true });
  await index.refresh(signal);
  if (locked.length > 0 || index.lockedSegments.length > 0) {
    throw new VaultError("locked", "gc needs a slot that opens the newest epoch: what points of it need cannot be known", {
      points: locked,
    });
  }
  if (damaged.length > 0) throw unreadable(damaged);
  const indexed = packNames(index.segments);
  const unowned = unknown.filter(({ name }) => !active.has(ownerOf(name)) && !isIn(indexed, name));
  const orphans = await readOrphans(parts, unowned, signal);
  const segments = index.segments.map(countOf);
  const entries = segments.reduce((sum, { segment }) => sum + segment.head.entries, 0);
  const ranges = rangesFor(entries, options.memoryBytes);
  const filter = new LiveFilter(Math.ceil((entries / ranges.length) * 1.1) + 4096);
  const chains = chainsOf(points);
  let names = 0;
  for (const [i, range] of ranges.entries()) {
    filter.clear();
    await markAll(parts, chains, { filter, range }, signal);
    for (const count of segments) await countSegment(count, filter, range, signal);
    for (const { items, needed } of orphans) needed.push(...items.filter((name) => inRange(name, 0, range) && filter.has(name, 0)));
    names += filter.count;
    options.onProgress?.({ pass: i + 1, passes: ranges.length, names });
  }
  return { points, segments, active, orphans, passes: ranges.length };
}

/** The session that wrote a pack. */
export function ownerOf(pack: string): string {
  return sessionOf(pack.split("/")[1] ?? "");
}

function unreadable(points: readonly string[], cause?: unknown): VaultError {
  const which = points.map((id) => id.slice(0, 12)).join(", ");
  const way = "verify says what is wrong; put these machines again or delete these points, and then run gc";
  return new VaultError("corrupt", `gc frees nothing while it cannot read what points need: ${which}; ${way}`, { points }, { cause });
}

/** Names of all packs that the segments mention, sorted. */
function packNames(segments: readonly SegmentReader[]): string[] {
  return segments.flatMap(({ head }) => head.packs.map(({ name }) => name)).sort();
}

function isIn(sorted: readonly string[], name: string): boolean {
  let [low, high] = [0, sorted.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    const here = sorted[middle]!;
    if (here === name) return true;
    if (here < name) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}

async function unindexedPacks({ store, index }: VaultParts, signal: AbortSignal): Promise<{ name: string; size: number }[]> {
  const indexed = packNames(index.segments);
  const found: { name: string; size: number }[] = [];
  for (const kind of ["data/", "tree/"]) {
    for await (const { name, size } of store.list(kind, { signal })) {
      if (found.length < mostOrphans && !isIn(indexed, name)) found.push({ name, size });
    }
  }
  return found;
}

/** Some of them, if there are many: the rest is for the next run. One that does not tell what it holds is left alone. */
async function readOrphans(parts: VaultParts, packs: readonly { name: string; size: number }[], signal: AbortSignal): Promise<Orphan[]> {
  const orphans: Orphan[] = [];
  let count = 0;
  for (const pack of packs) {
    if (count >= mostOrphanItems) break;
    try {
      const { records } = await readPackTable(parts.store, parts.keys, pack, signal);
      const items = records.flatMap((record) => record.items.map(({ name }) => Uint8Array.from(name)));
      orphans.push({ ...pack, items, needed: [] });
      count += items.length;
    } catch (error) {
      if (!isUnreadable(error) && !isNotFound(error)) throw error;
    }
  }
  return orphans;
}

function countOf(segment: SegmentReader): SegmentCount {
  const { entries, packs } = segment.head;
  const bits = new Uint8Array(Math.ceil(entries / 8));
  return { segment, items: new Uint32Array(packs.length), live: new Uint32Array(packs.length), bits, broken: false };
}

/** The points of each VM, oldest first: neighbours share most of their trees. */
function chainsOf(points: readonly Point[]): Point[][] {
  return [...Map.groupBy(points, ({ name }) => name).values()];
}

interface Marking {
  readonly filter: LiveFilter;
  readonly range: NameRange;
}

async function markAll(parts: VaultParts, chains: readonly Point[][], marking: Marking, signal: AbortSignal): Promise<void> {
  const places = new Semaphore(chainsAtOnce);
  const failures: { id: string; error: unknown }[] = [];
  const mark = async (chain: readonly Point[]): Promise<void> => {
    using _place = await places.acquire({ signal });
    for (const [i, point] of chain.entries()) {
      try {
        await markPoint(parts, point, chain[i - 1], marking, signal);
      } catch (error) {
        if (!isDamage(error)) throw error;
        if (await parts.store.stat(objectName.point(point.id), { signal })) failures.push({ id: point.id, error });
      }
    }
  };
  await Promise.all(chains.map(mark));
  if (failures.length > 0) {
    const why = failures[0]!.error;
    throw unreadable(
      failures.map(({ id }) => id),
      new Error(describeError(why), { cause: why }),
    );
  }
}

async function markPoint(parts: VaultParts, point: Point, before: Point | undefined, marking: Marking, signal: AbortSignal): Promise<void> {
  const { filter, range } = marking;
  for (const disk of point.disks) {
    for await (const { node, chunks } of newNames(parts.nodes, treeOf(disk, point.grid), treeBeside(point, disk, before), signal)) {
      if (inRange(node, 0, range)) filter.add(node, 0);
      for (let at = 0; at < chunks.length; at += nameLength) if (inRange(chunks, at, range)) filter.add(chunks, at);
    }
  }
}

async function countSegment(count: SegmentCount, filter: LiveFilter, range: NameRange, signal: AbortSignal): Promise<void> {
  const { segment } = count;
  try {
    const { first, last } = segment.blocksBetween(range.from, range.to);
    for await (const { number, block } of segment.stream(first, last, signal)) countBlock(count, block, number, { filter, range });
  } catch (error) {
    if (!isDamage(error) && !isNotFound(error)) throw error;
    count.broken = true;
  }
}

function countBlock({ segment, items, live, bits }: SegmentCount, block: Buffer, number: number, { filter, range }: Marking): void {
  const first = segment.ordinalOf(number);
  for (let at = 0, ordinal = first; at < block.length; at += entryLength, ordinal += 1) {
    if (!inRange(block, at, range)) continue;
    const pack = block.readUInt32LE(at + nameLength);
    if (pack >= items.length) throw new VaultError("corrupt", `index ${segment.batch} refers to a pack it does not list`);
    items[pack]! += 1;
    if (!filter.has(block, at)) continue;
    live[pack]! += 1;
    bits[ordinal >> 3]! |= 1 << (ordinal & 7);
  }
}

/** Bytes of a pack as stored, from what its index says. */
export function sizeOf({ tableOffset, tableLength }: IndexedPack): number {
  return tableOffset + tableLength + 16;
}
