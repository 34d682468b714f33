import { isZeroName, nameLength, sameName } from "../format/names.ts";
import { fanOut } from "../format/node.ts";
import { childOf, type Nodes, type Tree } from "./nodes.ts";

/** What a node brings: its own name, or at level 1 also the names of its chunks, zeros left out. */
export interface NewNames {
  readonly node: Uint8Array;
  /** 24 bytes each, back to back; empty above level 1. */
  readonly chunks: Uint8Array;
}

/**
 * The nodes and chunks of a tree that are not at the same place of another one, which may be absent: what a
 * tree needs beyond the other. Equal subtrees are not read, so that it costs what differs.
 */
export async function* newNames(
  nodes: Pick<Nodes, "load">,
  tree: Tree,
  other: Tree | undefined,
  signal: AbortSignal,
): AsyncGenerator<NewNames> {
  async function* walk(name: Uint8Array, level: number, beside: Uint8Array | undefined): AsyncGenerator<NewNames> {
    if (isZeroName(name) || (beside && sameName(name, 0, beside, 0))) return;
    signal.throwIfAborted();
    const comparable = beside && !isZeroName(beside);
    const [entries, others] = await Promise.all([
      nodes.load(name, level, signal),
      comparable ? loaded(nodes, beside, level, signal) : undefined,
    ]);
    yield { node: name, chunks: level === 1 ? entriesBeside(entries, others) : new Uint8Array() };
    if (level === 1) return;
    for (let i = 0; i < fanOut; i += 1) yield* walk(childOf(entries, i), level - 1, others && childOf(others, i));
  }
  const same = other?.levels === tree.levels;
  yield* walk(tree.root, tree.levels, same ? other.root : undefined);
}

/** The node to compare with; a damaged one is no obstacle, there is only less in common. */
async function loaded(nodes: Pick<Nodes, "load">, name: Uint8Array, level: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
  return await nodes.load(name, level, signal).catch(() => {
    signal.throwIfAborted();
    return undefined;
  });
}

function entriesBeside(entries: Uint8Array, others: Uint8Array | undefined): Uint8Array {
  const chunks = new Uint8Array(entries.length);
  let length = 0;
  for (let at = 0; at < entries.length; at += nameLength) {
    if (isZeroName(entries, at) || (others && sameName(entries, at, others, at))) continue;
    chunks.set(entries.subarray(at, at + nameLength), length);
    length += nameLength;
  }
  return chunks.subarray(0, length);
}
