import type { Extent } from "@godwit/core";
import { isZeroName, nameLength, sameName, zeroName } from "../format/names.ts";
import { fanOut } from "../format/node.ts";
import { childOf, type Nodes, type Tree } from "../tree/nodes.ts";

/**
 * Where two trees of one grid differ, in order: `data` or `zero` as `to` has it there. Costs what differs:
 * equal subtrees are not read. A place that only one of the disks has counts as different.
 */
export async function* diffTrees(
  nodes: Pick<Nodes, "load">,
  pair: { readonly from: Tree; readonly to: Tree; readonly grid: number; readonly size: number },
  signal: AbortSignal,
): AsyncGenerator<Extent> {
  let open: { offset: number; length: number; kind: Extent["kind"] } | undefined;
  for await (const { chunk, count, kind } of differing(nodes, pair, signal)) {
    const offset = chunk * pair.grid;
    const length = Math.min(count * pair.grid, pair.size - offset);
    if (length <= 0) continue;
    if (open?.kind === kind && open.offset + open.length === offset) {
      open.length += length;
      continue;
    }
    if (open) yield open;
    open = { offset, length, kind };
  }
  if (open) yield open;
}

interface Differing {
  readonly chunk: number;
  readonly count: number;
  readonly kind: Extent["kind"];
}

async function* differing(
  nodes: Pick<Nodes, "load">,
  { from, to }: { from: Tree; to: Tree },
  signal: AbortSignal,
): AsyncGenerator<Differing> {
  const levels = Math.max(from.levels, to.levels);
  /** From here down equal names mean equal contents. */
  const lowest = Math.min(from.levels, to.levels);
  /** The entries of a node, where the smaller tree stands in the corner of a larger one. */
  const entriesOf = async (tree: Tree, name: Uint8Array, level: number): Promise<Uint8Array> => {
    if (level <= tree.levels) return await nodes.load(name, level, signal);
    const entries = new Uint8Array(fanOut * nameLength);
    entries.set(name);
    return entries;
  };
  async function* walk(a: Uint8Array, b: Uint8Array, level: number, first: number): AsyncGenerator<Differing> {
    if (sameName(a, 0, b, 0) && level <= lowest) return;
    if (isZeroName(a) && isZeroName(b)) return;
    const span = fanOut ** (level - 1);
    signal.throwIfAborted();
    const [left, right] = await Promise.all([entriesOf(from, a, level), entriesOf(to, b, level)]);
    for (let i = 0; i < fanOut; i += 1) {
      const [before, after] = [childOf(left, i), childOf(right, i)];
      const same = sameName(before, 0, after, 0);
      if (level > 1 && (!same || level > lowest)) yield* walk(before, after, level - 1, first + i * span);
      else if (!same) yield { chunk: first + i, count: 1, kind: isZeroName(after) ? "zero" : "data" };
    }
  }
  const [a, b] = [from.chunks === 0 ? zeroName : from.root, to.chunks === 0 ? zeroName : to.root];
  yield* walk(a, b, levels, 0);
}
