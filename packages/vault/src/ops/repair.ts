import { isDamage } from "../errors.ts";
import { objectName, type PackKind } from "../format/objects.ts";
import { readPackTable } from "../index/vault-index.ts";
import type { VaultParts } from "../parts.ts";
import { isNotFound } from "../store/blob-store.ts";
import { readConfig, writeConfig } from "./config.ts";
import { spareAll } from "./gc/doom.ts";
import { WriteSession } from "./session.ts";

export interface RepairResult {
  /** The plain `config` was missing or damaged and has been written anew. */
  readonly config: boolean;
  /** Packs that no readable index knew, and that are known now. */
  readonly packsIndexed: number;
  /** Packs without a readable table and without an index: their chunks cannot be found. */
  readonly packsUnreadable: readonly string[];
  /** Damaged index segments that were replaced and removed. */
  readonly segmentsRemoved: readonly string[];
}

/**
 * Makes what can be derived from packs: an index that is damaged, gone or was never written, and `config`.
 * Removes only damaged index segments, after their packs are known anew.
 */
export async function repair(parts: VaultParts, { signal }: { readonly signal: AbortSignal }): Promise<RepairResult> {
  const { store, index } = parts;
  const config = !(await readConfig(store, signal));
  if (config) {
    await store.delete(objectName.config, { signal });
    await writeConfig(store, parts.keys.vault, { clock: parts.clock, signal });
  }
  await spareUnindexed(parts, signal);
  const session = new WriteSession(parts, signal);
  await session.start("");
  const { damaged, packsIndexed, packsUnreadable } = await makeIndexes(parts, session, signal);
  for (const batch of damaged) await store.delete(objectName.index(batch), { signal });
  await index.refresh(signal);
  return { config, packsIndexed, packsUnreadable, segmentsRemoved: [...damaged] };
}

/**
 * A condemned pack must not enter an index. Where one is in none, because that was lost, its mark is lifted first, as far as
 * nothing is decided: what a point needs of it could not be found otherwise.
 */
async function spareUnindexed(parts: VaultParts, signal: AbortSignal): Promise<void> {
  const { index } = parts;
  await index.refresh(signal);
  const mentioned = new Set(
    index.segments.flatMap(({ head }) => head.packs.map(({ name }) => name)).filter((name) => index.condemned.has(name)),
  );
  for (const mark of index.condemned.marks) {
    if (mark.content?.packs.every(({ pack }) => mentioned.has(pack)) !== true) await spareAll(parts, mark, signal);
  }
}

/** Ends the session. */
async function makeIndexes(
  parts: VaultParts,
  session: WriteSession,
  signal: AbortSignal,
): Promise<{ damaged: Set<string>; packsIndexed: number; packsUnreadable: string[] }> {
  try {
    const damaged = new Set([...parts.index.damagedSegments, ...(await damagedBlocks(parts, signal))]);
    const indexed = await indexPacks(parts, session, damaged, signal);
    await session.closeBatch();
    return { damaged, ...indexed };
  } finally {
    await session.end();
  }
}

async function damagedBlocks({ index }: VaultParts, signal: AbortSignal): Promise<string[]> {
  const damaged: string[] = [];
  for (const segment of index.segments) {
    try {
      for await (const _block of segment.stream(0, segment.blocks - 1, signal));
    } catch (error) {
      if (!isDamage(error) && !isNotFound(error)) throw error;
      damaged.push(segment.batch);
    }
  }
  return damaged;
}

async function indexPacks(
  parts: VaultParts,
  session: WriteSession,
  damaged: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<{ packsIndexed: number; packsUnreadable: string[] }> {
  const { store, keys, index } = parts;
  const known = new Set(
    index.segments.filter(({ batch }) => !damaged.has(batch)).flatMap(({ head }) => head.packs.map(({ name }) => name)),
  );
  const packsUnreadable: string[] = [];
  let packsIndexed = 0;
  for (const kind of ["data", "tree"] satisfies PackKind[]) {
    for await (const pack of store.list(`${kind}/`, { signal })) {
      if (known.has(pack.name) || index.condemned.has(pack.name)) continue;
      try {
        session.adopt(await readPackTable(store, keys, pack, signal));
        packsIndexed += 1;
      } catch (error) {
        if (!isDamage(error)) throw error;
        packsUnreadable.push(pack.name);
      }
      if (session.full) await session.closeBatch();
    }
  }
  return { packsIndexed, packsUnreadable };
}
