import { randomBytes } from "node:crypto";
import { isUnreadable, VaultError } from "../errors.ts";
import { holdToJson } from "../format/hold.ts";
import { epochDigits, objectName } from "../format/objects.ts";
import type { VaultParts } from "../parts.ts";
import { epochOf, PackEpochs } from "./epochs.ts";
import { type GcOptions, type GcResult, gcUnwanted } from "./gc/gc.ts";
import { replaceable, replaceSegments } from "./gc/segments.ts";
import { activeSessions } from "./gc/survey.ts";
import { listHolds } from "./holds.ts";
import { listPoints } from "./points.ts";
import { finishReseal, resealPoint } from "./reseal.ts";
import { WriteSession } from "./session.ts";

export interface RewriteEpochsResult {
  /** What the gc did that moves the packs. */
  readonly gc: GcResult;
  readonly points: number;
  readonly segments: number;
  /** Objects that are still sealed with an older key, by kind; empty when none is. */
  readonly remaining: Readonly<Record<string, number>>;
  /** Epochs whose keys are gone for good. */
  readonly dropped: readonly number[];
}

/**
 * Seals what older keys seal with the current one, in bounded runs (`maxRewriteBytes`): docs/formats/vault.md,
 * section 15. When nothing is left that an older key opens, those are dropped. Run it until `remaining` is empty.
 */
export async function rewriteOldEpochs(parts: VaultParts, options: GcOptions): Promise<RewriteEpochsResult> {
  const { signal } = options;
  if (options.dryRun) throw new VaultError("invalid", "re-key rewriting has no dry run; status counts what older keys seal");
  const epochs = new PackEpochs(parts, signal);
  const current = parts.keys.current.epoch;
  const collected = await gcUnwanted(parts, options, async (pack) => ((await epochs.of(pack)) ?? current) < current);
  const points = await resealPoints(parts, signal);
  await rewriteHolds(parts, signal);
  await rewriteHurts(parts, signal);
  const segments = await rewriteSegments(parts, signal);
  const remaining = await countOlder(parts, signal);
  const dropped = Object.keys(remaining).length === 0 ? await dropOlder(parts, signal) : [];
  return { gc: collected, points, segments, remaining, dropped };
}

async function resealPoints(parts: VaultParts, signal: AbortSignal): Promise<number> {
  const { points } = await listPoints(parts, { signal, all: true });
  const current = parts.keys.current.epoch;
  let resealed = 0;
  for (const point of points) {
    const info = parts.store.enforcesRetention ? await parts.store.stat(objectName.point(point.id), { signal }) : undefined;
    if ((info?.retainUntil ?? 0) > parts.clock.now()) continue;
    const renewed = points.find(({ formerly }) => formerly?.includes(point.id));
    if (renewed) await finishReseal(parts, point, renewed, signal);
    else if (((await epochOf(parts, objectName.point(point.id), signal)) ?? current) < current && (await resealPoint(parts, point, signal)))
      resealed += 1;
  }
  return resealed;
}

async function rewriteHolds(parts: VaultParts, signal: AbortSignal): Promise<void> {
  const { store, keys } = parts;
  for (const hold of await listHolds(parts, undefined, signal)) {
    const old = objectName.hold(hold.point, hold.id);
    if (((await epochOf(parts, old, signal)) ?? keys.current.epoch) >= keys.current.epoch || hold.created === "") continue;
    const name = objectName.hold(hold.point, randomBytes(8).toString("hex"));
    await store.put(name, [keys.sealJson("HOLD", name, holdToJson(hold))], { signal });
    await store.delete(old, { signal });
  }
}

async function rewriteHurts(parts: VaultParts, signal: AbortSignal): Promise<void> {
  const { store, keys } = parts;
  for await (const { name: old } of store.list("hurt/", { signal })) {
    if (((await epochOf(parts, old, signal)) ?? keys.current.epoch) >= keys.current.epoch) continue;
    try {
      const json = keys.openJson(await store.get(old, { signal, maxBytes: 64 << 20 }), "HURT", old);
      const name = objectName.hurt(old.split("/")[1]!, randomBytes(8).toString("hex"));
      await store.put(name, [keys.sealJson("HURT", name, json)], { signal });
    } catch (error) {
      // It tells nobody anything.
      if (!isUnreadable(error)) throw error;
    }
    await store.delete(old, { signal });
  }
}

async function rewriteSegments(parts: VaultParts, signal: AbortSignal): Promise<number> {
  const current = parts.keys.current.epoch;
  await parts.index.refresh(signal);
  if (parts.index.segments.every(({ epoch }) => epoch >= current)) return 0;
  const session = new WriteSession(parts, signal);
  await session.start("");
  try {
    const active = await activeSessions(parts, signal);
    const old = replaceable(parts, active, (pack) => parts.index.condemned.has(pack)).filter(({ epoch }) => epoch < current);
    return await replaceSegments(parts, old, { signal, session, dropped: new Set(), entries: parts.tuning.batchEntries });
  } finally {
    await session.end();
  }
}

const sealedPrefixes = ["data", "tree", "index", "point", "hold", "hurt", "mark", "wait", "doom", "session"];

/** How many objects older keys seal, by kind; a pack or two are looked at per batch. */
export async function countOlder(parts: VaultParts, signal: AbortSignal): Promise<Record<string, number>> {
  const current = parts.keys.current.epoch;
  const epochs = new PackEpochs(parts, signal);
  const counts: Record<string, number> = {};
  for (const prefix of sealedPrefixes) {
    for await (const { name } of parts.store.list(`${prefix}/`, { signal })) {
      const epoch = prefix === "data" || prefix === "tree" ? await epochs.of(name) : await epochOf(parts, name, signal);
      if (epoch !== undefined && epoch < current) counts[prefix] = (counts[prefix] ?? 0) + 1;
    }
  }
  return counts;
}

/** Removes the ways to older keys, the grants first. */
async function dropOlder(parts: VaultParts, signal: AbortSignal): Promise<number[]> {
  const { store, keys } = parts;
  const current = epochDigits(keys.current.epoch);
  const dropped = new Set<number>();
  for (const prefix of ["grant/", "spare/", "epoch/"]) {
    for await (const { name } of store.list(prefix, { signal })) {
      const epoch = name.split("/").at(-1)!;
      if (epoch >= current) continue;
      await store.delete(name, { signal });
      if (prefix === "epoch/") dropped.add(Number.parseInt(epoch, 16));
    }
  }
  return [...dropped];
}
