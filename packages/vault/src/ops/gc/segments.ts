import { isDamage } from "../../errors.ts";
import { nameLength } from "../../format/names.ts";
import { objectName, sessionOf } from "../../format/objects.ts";
import { entryLength, type IndexedPack } from "../../format/segment.ts";
import type { SegmentReader } from "../../index/segment-reader.ts";
import type { VaultParts } from "../../parts.ts";
import { isNotFound } from "../../store/blob-store.ts";
import type { WriteSession } from "../session.ts";

export interface ReplaceOptions {
  readonly signal: AbortSignal;
  readonly session: WriteSession;
  /** Packs that are mentioned no more. */
  readonly dropped: ReadonlySet<string>;
  /** Segments of this size and more are rewritten alone; smaller ones are merged up to it. */
  readonly entries: number;
}

/** Writes segments that say the same but for dropped packs, then deletes the old ones. How many were replaced. */
export async function replaceSegments(parts: VaultParts, old: readonly SegmentReader[], options: ReplaceOptions): Promise<number> {
  let replaced = 0;
  let group: SegmentReader[] = [];
  let entries = 0;
  for (const segment of [...old].sort((a, b) => a.head.entries - b.head.entries)) {
    if (entries > 0 && entries + segment.head.entries > options.entries) {
      replaced += await replaceGroup(parts, group, options);
      [group, entries] = [[], 0];
    }
    group.push(segment);
    entries += segment.head.entries;
  }
  return replaced + (await replaceGroup(parts, group, options));
}

async function replaceGroup(parts: VaultParts, group: readonly SegmentReader[], options: ReplaceOptions): Promise<number> {
  const { signal, session, dropped } = options;
  const merged = new Merged(dropped);
  const done: SegmentReader[] = [];
  for (const segment of group) {
    try {
      const blocks: Buffer[] = [];
      for await (const { block } of segment.stream(0, segment.blocks - 1, signal)) blocks.push(block);
      merged.add(segment.head.packs, blocks);
      done.push(segment);
    } catch (error) {
      // Damaged: repair makes it anew. Gone: another gc was here.
      if (!isDamage(error) && !isNotFound(error)) throw error;
    }
  }
  if (merged.length > 0) await session.writeIndex(merged.packs, merged.entries, { sorted: done.length === 1 });
  for (const { batch } of done) {
    await parts.store.delete(objectName.index(batch), { signal });
    parts.index.drop(batch);
  }
  return done.length;
}

/** Entries of several segments, with the packs numbered anew. */
class Merged {
  readonly packs: IndexedPack[] = [];
  readonly #dropped: ReadonlySet<string>;
  readonly #numbers = new Map<string, number>();
  readonly #parts: Buffer[] = [];
  length = 0;

  constructor(dropped: ReadonlySet<string>) {
    this.#dropped = dropped;
  }

  get entries(): Uint8Array {
    return Buffer.concat(this.#parts);
  }

  add(packs: readonly IndexedPack[], blocks: readonly Buffer[]): void {
    // A pack that is in two segments is the same in both: its entries are taken once.
    const numbers = packs.map((pack) => (this.#dropped.has(pack.name) || this.#numbers.has(pack.name) ? -1 : this.#numberOf(pack)));
    for (const block of blocks) {
      let length = 0;
      for (let at = 0; at < block.length; at += entryLength) {
        const number = numbers[block.readUInt32LE(at + nameLength)] ?? -1;
        if (number < 0) continue;
        if (length !== at) block.copy(block, length, at, at + entryLength);
        block.writeUInt32LE(number, length + nameLength);
        length += entryLength;
      }
      this.#parts.push(block.subarray(0, length));
      this.length += length;
    }
  }

  #numberOf(pack: IndexedPack): number {
    const number = this.packs.length;
    this.packs.push(pack);
    this.#numbers.set(pack.name, number);
    return number;
  }
}

/** Segments that may be replaced now: of no active session, and without packs that are `blocked`. */
export function replaceable(
  { index }: Pick<VaultParts, "index">,
  active: ReadonlySet<string>,
  blocked: (pack: string) => boolean,
): SegmentReader[] {
  return index.segments.filter(({ batch, head }) => !active.has(sessionOf(batch)) && !head.packs.some(({ name }) => blocked(name)));
}
