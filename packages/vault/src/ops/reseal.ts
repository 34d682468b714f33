import { hex } from "../format/names.ts";
import { holdToJson } from "../format/hold.ts";
import { objectName } from "../format/objects.ts";
import { type Point, pointToJson } from "../format/point.ts";
import type { VaultParts } from "../parts.ts";
import { whyNoBase } from "./base.ts";
import { listHolds } from "./holds.ts";
import { WriteSession } from "./session.ts";

/**
 * Seals a point anew with the current key, under a new id that remembers the old one; undefined when that
 * is not possible now. Holds move along. Interrupted, {@link finishReseal} does the rest.
 */
export async function resealPoint(parts: VaultParts, old: Point, signal: AbortSignal): Promise<Point | undefined> {
  const session = new WriteSession(parts, signal);
  await session.start("", { makesPoint: true });
  try {
    if ((await whyNoBase(parts, old, signal)) !== undefined) return undefined;
    const { marks: _before, ...rest } = old;
    const marks = parts.index.condemned.marks.map(({ id }) => id);
    const id = hex(session.point);
    const point: Point = { ...rest, id, formerly: [...(old.formerly ?? []), old.id], ...(marks.length > 0 ? { marks } : {}) };
    await session.commit(parts.keys.sealJson("PONT", objectName.point(id), pointToJson(point), session.point));
    await finishReseal(parts, old, point, signal);
    return point;
  } finally {
    await session.end();
  }
}

/** Moves the holds of a point to what it was sealed anew as, and deletes it. May be done twice. */
export async function finishReseal(parts: VaultParts, old: Point, point: Point, signal: AbortSignal): Promise<void> {
  const { store, keys } = parts;
  for (const hold of await listHolds(parts, old.id, signal)) {
    const name = objectName.hold(point.id, hold.id);
    await store.put(name, [keys.sealJson("HOLD", name, holdToJson({ ...hold, point: point.id }))], { signal });
    await store.delete(objectName.hold(old.id, hold.id), { signal });
  }
  await store.delete(objectName.point(old.id), { signal });
}
