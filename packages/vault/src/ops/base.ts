import { describeError } from "@godwit/core";
import { isUnreadable, VaultError } from "../errors.ts";
import { nameLength } from "../format/names.ts";
import { objectName } from "../format/objects.ts";
import type { Point, PointDisk } from "../format/point.ts";
import type { VaultParts } from "../parts.ts";
import { isNotFound } from "../store/blob-store.ts";
import type { Tree } from "../tree/nodes.ts";
import { newNames } from "../tree/new-names.ts";
import { treeOf } from "./disk-writer.ts";
import { listPoints, readPoint } from "./points.ts";

/**
 * Whether a put, whose session is durable and which has read the marks, may take parts of a base's trees
 * without looking them up: docs/formats/vault.md, section 13. Undefined when it may, or else the reason.
 */
export async function whyNoBase(parts: VaultParts, base: Point, signal: AbortSignal): Promise<string | undefined> {
  const { condemned } = parts.index;
  const name = objectName.point(base.id);
  if (!(await parts.store.stat(name, { signal }))) return `the base ${base.id.slice(0, 12)} has been deleted`;
  if (condemned.isClear(base)) return undefined;
  try {
    const clear = await clearRelative(parts, base, signal);
    for await (const needed of neededBeyond(parts, base, clear, signal)) {
      if (!(await parts.index.find(needed, signal, true))) return `gc is about to remove parts of the base ${base.id.slice(0, 12)}`;
    }
    return undefined;
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return `the base ${base.id.slice(0, 12)} cannot be read whole (${describeError(error)})`;
  }
}

/** Every name that a point needs and another, which may be absent, does not have at the same place. */
export async function* neededBeyond(
  parts: VaultParts,
  point: Point,
  other: Point | undefined,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (const disk of point.disks) {
    for await (const { node, chunks } of newNames(parts.nodes, treeOf(disk, point.grid), treeBeside(point, disk, other), signal)) {
      yield node;
      for (let at = 0; at < chunks.length; at += nameLength) yield chunks.subarray(at, at + nameLength);
    }
  }
}

/** The tree of the disk of the same name. */
export function treeBeside(point: Point, disk: PointDisk, other: Point | undefined): Tree | undefined {
  const same = other?.grid === point.grid ? other.disks.find(({ name }) => name === disk.name) : undefined;
  return same && other && treeOf(same, other.grid);
}

/** A point of the same VM that is clear of all marks: its parent, or the one next to it in time. */
async function clearRelative(parts: VaultParts, point: Point, signal: AbortSignal): Promise<Point | undefined> {
  const { condemned } = parts.index;
  if (point.parent !== undefined) {
    const parent = await readPoint(parts, point.parent, signal).catch((error: unknown) => {
      if (isNotFound(error) || error instanceof VaultError) return undefined;
      throw error;
    });
    if (parent && condemned.isClear(parent)) return parent;
  }
  const { points } = await listPoints(parts, { name: point.name, signal });
  const clear = points.filter((one) => condemned.isClear(one));
  return clear.findLast(({ time }) => time <= point.time) ?? clear[0];
}
