import { isUnreadable } from "../../errors.ts";
import type { VaultParts } from "../../parts.ts";
import { isNotFound } from "../../store/blob-store.ts";
import { halfDead, liveItems, otherPlaces } from "./rewrite.ts";
import type { SegmentCount, Survey } from "./survey.ts";

/**
 * Which of the packs that somebody doomed may go as far as this survey, made after the doom, can see: a doom
 * may come from a machine that was broken into, and what points need is not deleted on its word.
 */
export async function confirmDead(
  parts: VaultParts,
  found: Survey,
  doomed: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Set<string>> {
  const counts = new Map<string, { count: SegmentCount; number: number }>();
  for (const count of found.segments) {
    for (const [number, { name }] of count.segment.head.packs.entries())
      if (!count.broken && doomed.has(name)) counts.set(name, { count, number });
  }
  const orphans = new Map(found.orphans.map((orphan) => [orphan.name, orphan.needed]));
  const confirmed = new Set<string>();
  for (const pack of doomed) {
    const counted = counts.get(pack);
    const needed = counted ? await neededOf(parts, counted, signal) : orphans.get(pack);
    const replaced = needed && (await otherPlaces(parts, needed, () => false, signal)) !== undefined;
    // What is gone already is only to be forgotten.
    if (replaced || !(await parts.store.stat(pack, { signal }))) confirmed.add(pack);
  }
  return confirmed;
}

/** Undefined when it is not known. */
async function neededOf(
  parts: VaultParts,
  { count, number }: { readonly count: SegmentCount; readonly number: number },
  signal: AbortSignal,
): Promise<Uint8Array[] | undefined> {
  if (count.items[number] === 0) return undefined;
  if (count.live[number] === 0) return [];
  try {
    return [...(await liveItems(parts, halfDead(count, number), signal)).values()];
  } catch (error) {
    if (!isUnreadable(error) && !isNotFound(error)) throw error;
    return undefined;
  }
}
