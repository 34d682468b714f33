import { VaultError } from "../errors.ts";
import type { Hold } from "../format/hold.ts";
import { objectName } from "../format/objects.ts";
import type { Point } from "../format/point.ts";
import type { VaultParts } from "../parts.ts";
import { neededBeyond } from "./base.ts";
import { addHold, listHolds } from "./holds.ts";
import { WriteSession } from "./session.ts";

export interface LockRequest {
  /** Milliseconds since the epoch. A lock is only ever extended. */
  readonly until: number;
  readonly reason: string;
}

export interface LockResult {
  readonly hold: Hold;
  /** Objects whose retention the storage itself enforces now; 0 where it enforces none. */
  readonly objects: number;
}

const extendAtOnce = 64;

/**
 * Locks a point until a date: no Godwit deletes it before, and where the storage enforces retention, that is
 * extended on everything a restore needs, the point's own object last. Run again, it extends.
 */
export async function lockPoint(
  parts: VaultParts,
  point: Point,
  request: LockRequest,
  options: { readonly signal: AbortSignal; readonly onProgress?: (objects: number) => void },
): Promise<LockResult> {
  const { signal } = options;
  const before = (await listHolds(parts, point.id, signal)).filter(({ kind }) => kind === "lock");
  const longest = before.find(({ until = 0 }) => until >= request.until);
  const hold = longest ?? (await addHold(parts, point.id, { ...request, kind: "lock" }, signal));
  if (!parts.store.enforcesRetention) return { hold, objects: 0 };
  // A session, so that no gc deletes a pack between its choice and its lock.
  const session = new WriteSession(parts, signal);
  await session.start("");
  try {
    const needed = [...(await keyObjects(parts, signal)), ...(await packsOf(parts, point, signal)), objectName.hold(point.id, hold.id)];
    for (let first = 0; first < needed.length; first += extendAtOnce) {
      const some = needed.slice(first, first + extendAtOnce);
      await Promise.all(some.map((name) => parts.store.extendRetention(name, request.until, { signal })));
      options.onProgress?.(first + some.length);
    }
    await parts.store.extendRetention(objectName.point(point.id), request.until, { signal });
    return { hold, objects: needed.length + 1 };
  } finally {
    await session.end();
  }
}

/** Without these nobody opens the vault. */
async function keyObjects({ store }: VaultParts, signal: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  if (await store.stat(objectName.config, { signal })) names.push(objectName.config);
  for (const prefix of ["epoch/", "spare/", "slot/", "grant/"]) {
    for await (const { name } of store.list(prefix, { signal })) names.push(name);
  }
  return names;
}

/** A pack for every name that the point needs. Throws `missing`. */
export async function packsOf(parts: VaultParts, point: Point, signal: AbortSignal): Promise<Set<string>> {
  const packs = new Set<string>();
  for await (const name of neededBeyond(parts, point, undefined, signal)) {
    const place = await parts.index.find(name, signal);
    if (!place)
      throw new VaultError("missing", `part of recovery point ${point.id.slice(0, 12)} is not in the vault; run verify`, {
        point: point.id,
      });
    packs.add(place.pack);
  }
  return packs;
}

/** Until when the storage itself keeps everything that a restore of the point needs; undefined when it does not. */
export async function lockedUntil(parts: VaultParts, point: Point, signal: AbortSignal): Promise<number | undefined> {
  const needed = [...(await keyObjects(parts, signal)), ...(await packsOf(parts, point, signal)), objectName.point(point.id)];
  let earliest = Infinity;
  for (let first = 0; first < needed.length; first += extendAtOnce) {
    const infos = await Promise.all(needed.slice(first, first + extendAtOnce).map((name) => parts.store.stat(name, { signal })));
    for (const info of infos) earliest = Math.min(earliest, info?.retainUntil ?? 0);
  }
  return earliest > parts.clock.now() ? earliest : undefined;
}
