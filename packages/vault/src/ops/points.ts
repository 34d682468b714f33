import { isDamage, isUnreadable, VaultError } from "../errors.ts";
import { isVoid } from "../format/envelope.ts";
import { limits, objectName } from "../format/objects.ts";
import { parsePoint, type Point, type PointDisk } from "../format/point.ts";
import type { KeyRing } from "../keys/ring.ts";
import { type BlobStore, isNotFound, StoreError } from "../store/blob-store.ts";

const parallelReads = 16;

interface Reading {
  readonly store: BlobStore;
  readonly keys: KeyRing;
}

export interface PointList {
  /** Oldest first. */
  readonly points: readonly Point[];
  /** Ids of points whose object is damaged. */
  readonly damaged: readonly string[];
  /** Ids of points that are sealed with a newer key than this slot was granted. */
  readonly locked: readonly string[];
}

/** Throws `corrupt`, or the store's `not-found`. */
export async function readPoint({ store, keys }: Reading, id: string, signal: AbortSignal): Promise<Point> {
  const name = objectName.point(id);
  const object = await store.get(name, { signal, maxBytes: limits.jsonBytes });
  // A name that gc took from a dead session: there is no such point.
  if (isVoid(object)) throw new StoreError("not-found", `no object ${name}`);
  return parsePoint(keys.openJson(object, "PONT", name), id);
}

/** Every point, of one VM where `name` is given; with `all` also those that were sealed anew and are about to go. */
export async function listPoints(
  reading: Reading,
  { name, signal, all = false }: { readonly name?: string; readonly signal: AbortSignal; readonly all?: boolean },
): Promise<PointList> {
  const points: Point[] = [];
  const damaged: string[] = [];
  const locked: string[] = [];
  const read = async (id: string): Promise<void> => {
    try {
      const point = await readPoint(reading, id, signal);
      if (name === undefined || point.name === name) points.push(point);
    } catch (error) {
      if (isDamage(error)) damaged.push(id);
      else if (isUnreadable(error)) locked.push(id);
      else if (!isNotFound(error)) throw error;
    }
  };
  let batch: Promise<void>[] = [];
  for await (const blob of reading.store.list("point/", { signal })) {
    const one = read(blob.name.slice("point/".length));
    // It may fail while the listing goes on, or the listing itself may: an error that nobody awaits ends the process.
    one.catch(() => undefined);
    batch.push(one);
    if (batch.length < parallelReads) continue;
    await Promise.all(batch);
    batch = [];
  }
  await Promise.all(batch);
  const renewed = new Set(all ? [] : points.flatMap(({ formerly }) => formerly ?? []));
  const listed = points.filter(({ id }) => !renewed.has(id));
  listed.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : a.id < b.id ? -1 : 1));
  return { points: listed, damaged, locked };
}

/**
 * The point that a person means: an id or the start of one (4 digits at least), or `NAME@latest`, or a name
 * alone for its latest. Throws `not-found`, `ambiguous`, or `corrupt`.
 */
export async function resolvePoint(reading: Reading, text: string, signal: AbortSignal): Promise<Point> {
  if (/^[0-9a-f]{4,32}$/.test(text)) {
    const ids: string[] = [];
    for await (const { name } of reading.store.list("point/", { signal })) {
      const id = name.slice("point/".length);
      if (id.startsWith(text) && (await exists(reading, id, signal))) ids.push(id);
    }
    if (ids.length > 1) throw new VaultError("ambiguous", `${text} is the start of ${ids.length} recovery points`, { points: ids });
    if (ids.length === 1) return await readPoint(reading, ids[0]!, signal);
  }
  const name = text.endsWith("@latest") ? text.slice(0, -"@latest".length) : text;
  const { points } = await listPoints(reading, { name, signal });
  const latest = points.at(-1) ?? (await formerPoint(reading, text, signal));
  if (!latest)
    throw new VaultError("not-found", `the vault has no recovery point ${text}: it is neither the start of an id nor the name of a VM`);
  return latest;
}

/** True unless the name was only taken from a dead session. */
async function exists({ store }: Reading, id: string, signal: AbortSignal): Promise<boolean> {
  const header = new Uint8Array(8);
  return (await store.read(objectName.point(id), 0, header, { signal })) > 0 && !isVoid(header);
}

/** The point that once had an id which starts so, before it was sealed anew. */
async function formerPoint(reading: Reading, text: string, signal: AbortSignal): Promise<Point | undefined> {
  if (!/^[0-9a-f]{4,32}$/.test(text)) return undefined;
  const { points } = await listPoints(reading, { signal });
  return points.find(({ formerly }) => formerly?.some((id) => id.startsWith(text)));
}

/** A disk of a point by its name; the only one where none is given. */
export function diskOf(point: Point, name?: string): PointDisk {
  if (name === undefined && point.disks.length === 1) return point.disks[0]!;
  const disk = point.disks.find((one) => one.name === name);
  if (disk) return disk;
  const names = point.disks.map((one) => one.name).join(", ");
  const what = name === undefined ? `has several disks, say which` : `has no disk ${name}`;
  throw new VaultError(name === undefined ? "ambiguous" : "not-found", `recovery point ${point.id.slice(0, 12)} ${what}: ${names}`);
}
