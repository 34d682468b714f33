import { objectName } from "../../format/objects.ts";
import type { VaultParts } from "../../parts.ts";
import { StoreError } from "../../store/blob-store.ts";
import { WriteSession } from "../session.ts";
import { believedDoom, removeMark } from "./doom.ts";
import { replaceable, replaceSegments } from "./segments.ts";
import { activeSessions } from "./survey.ts";

export interface Swept {
  readonly deletedPacks: number;
  /** Of the packs that were deleted, as stored. */
  readonly freedBytes: number;
  /** Packs that the storage's own lock keeps. */
  readonly retained: readonly string[];
  readonly segmentsReplaced: number;
}

const deletesAtOnce = 64;

/**
 * Deletes doomed packs, as far as `confirmed` has them, then all mention of them, then marks of which nothing
 * is left. May be done twice, and by several at once.
 */
export async function sweep(
  parts: VaultParts,
  decided: ReadonlyMap<string, readonly string[]>,
  confirmed: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Swept> {
  const doomed = new Set([...decided.values()].flat().filter((pack) => confirmed.has(pack)));
  const retained: string[] = [];
  let [deletedPacks, freedBytes] = [0, 0];
  const remove = async (pack: string): Promise<void> => {
    try {
      const there = await parts.store.stat(pack, { signal });
      if (!there) return;
      await parts.store.delete(pack, { signal });
      deletedPacks += 1;
      freedBytes += there.size;
    } catch (error) {
      if (!(error instanceof StoreError && error.kind === "retained")) throw error;
      retained.push(pack);
    }
  };
  const packs = [...doomed];
  for (let first = 0; first < packs.length; first += deletesAtOnce)
    await Promise.all(packs.slice(first, first + deletesAtOnce).map(remove));
  await forgetHurts(parts, doomed, signal);
  const segmentsReplaced = await forgetPacks(parts, doomed, signal);
  await parts.index.refresh(signal);
  const mentioned = mentionedPacks(parts);
  const allRead = parts.index.damagedSegments.length === 0 && parts.index.lockedSegments.length === 0;
  for (const [mark, packsOfMark] of decided) {
    const remains = packsOfMark.some((pack) => !doomed.has(pack) || mentioned.has(pack) || retained.includes(pack));
    if (!remains && allRead) await removeMark(parts, mark, signal);
  }
  return { deletedPacks, freedBytes, retained, segmentsReplaced };
}

function mentionedPacks({ index }: VaultParts): Set<string> {
  const mentioned = new Set<string>();
  for (const { head } of index.segments) for (const { name } of head.packs) if (index.condemned.has(name)) mentioned.add(name);
  return mentioned;
}

async function forgetHurts({ store, index }: VaultParts, doomed: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
  for (const { pack } of index.hurt.all) {
    if (!doomed.has(pack)) continue;
    for await (const { name } of store.list(`hurt/${pack.split("/")[2]}/`, { signal })) await store.delete(name, { signal });
  }
}

/** Replaces the segments that mention doomed packs. How many. */
async function forgetPacks(parts: VaultParts, dropped: ReadonlySet<string>, signal: AbortSignal): Promise<number> {
  const mentions = (packs: readonly { readonly name: string }[]): boolean => packs.some(({ name }) => dropped.has(name));
  await parts.index.refresh(signal);
  if (!parts.index.segments.some(({ head }) => mentions(head.packs))) return 0;
  const session = new WriteSession(parts, signal);
  await session.start("");
  try {
    const active = await activeSessions(parts, signal);
    const blocked = await blockedPacks(parts, dropped, signal);
    const wanted = replaceable(parts, active, blocked).filter(({ head }) => mentions(head.packs));
    return await replaceSegments(parts, wanted, { signal, session, dropped, entries: parts.tuning.batchEntries });
  } finally {
    await session.end();
  }
}

/**
 * Condemned packs that a new segment must neither mention nor leave out: about which nothing is decided, or
 * which somebody else doomed. What was spared stays, and may be mentioned.
 */
async function blockedPacks(parts: VaultParts, dropped: ReadonlySet<string>, signal: AbortSignal): Promise<(pack: string) => boolean> {
  const blocked = new Set<string>();
  let all = false;
  for (const { id, content } of parts.index.condemned.marks) {
    const doomed = await believedDoom(parts, id, signal);
    all ||= content === undefined && doomed === undefined;
    for (const pack of doomed ?? content?.packs.map((one) => one.pack) ?? []) if (!dropped.has(pack)) blocked.add(pack);
  }
  return (pack) => (all && !dropped.has(pack)) || blocked.has(pack);
}

/** Removes what was left of marks that are gone. */
export async function removeVoidVerdicts({ store }: VaultParts, signal: AbortSignal): Promise<void> {
  for (const prefix of ["wait", "doom"]) {
    for await (const { name } of store.list(`${prefix}/`, { signal })) {
      const mark = name.slice(prefix.length + 1);
      if (!(await store.stat(objectName.mark(mark), { signal }))) await store.delete(name, { signal });
    }
  }
}
