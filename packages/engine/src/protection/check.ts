import type { Extent } from "@godwit/core";
import { type Point, type Vault, VaultError } from "@godwit/vault";
import type { CheckedDisk } from "./model.ts";

/** By disk: what the hypervisor listed as changed, in order; undefined where it kept no list. */
export type ChangeLists = ReadonlyMap<string, readonly Extent[] | undefined>;

/**
 * Where a point that was read whole differs from the one before it, and how much of that no list of changes accounts
 * for. Disks that the earlier point does not have are left out, and all when it cannot be read any more.
 */
export async function compareWithLast(
  vault: Vault,
  base: Point,
  point: Point,
  lists: ChangeLists,
  signal: AbortSignal,
): Promise<CheckedDisk[]> {
  const checked: CheckedDisk[] = [];
  try {
    for (const { name } of point.disks) {
      if (!base.disks.some((disk) => disk.name === name)) continue;
      checked.push(await compareDisk(vault.diff(base, point, name, { signal }), name, lists.get(name), point.grid));
    }
    return checked;
  } catch (error) {
    if (!(error instanceof VaultError)) throw error;
    return [];
  }
}

async function compareDisk(
  differing: AsyncIterable<Extent>,
  target: string,
  list: readonly Extent[] | undefined,
  grid: number,
): Promise<CheckedDisk> {
  let [differingBytes, unexpectedBytes, next] = [0, 0, 0];
  for await (const { offset, length } of differing) {
    differingBytes += length;
    if (!list) continue;
    for (let at = offset; at < offset + length; at += grid) {
      const end = Math.min(at + grid, offset + length);
      while (next < list.length && list[next]!.offset + list[next]!.length <= at) next += 1;
      const listed = list[next];
      if (!listed || listed.offset >= end) unexpectedBytes += end - at;
    }
  }
  return { target, differingBytes, ...(list && { unexpectedBytes }) };
}

/** In words, for the job's reasons. */
export function checkText({ target, differingBytes, unexpectedBytes }: CheckedDisk): string {
  if (unexpectedBytes === undefined)
    return `${target}: ${differingBytes} bytes differ from the last point; without a list of changes nobody can tell which were expected`;
  if (unexpectedBytes === 0)
    return `${target}: the last point and the list of changes since then were right (${differingBytes} bytes changed)`;
  return `${target}: ${unexpectedBytes} bytes differ from the last point though no change of them was listed; this point holds them as they are`;
}
