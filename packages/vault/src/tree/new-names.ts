import { isZeroName, nameLength, sameName } from "../format/names.ts";
import { fanOut } from "../format/node.ts";
import { childOf, type Nodes, type Tree } from "./nodes.ts";

/** What a node brings: its own name, or at level 1 also the names of its chunks, zeros left out. */
export interface NewNames {
  readonly node: Uint8Array;
  /** 24 bytes each, back to back; empty above level 1. */
  readonly chunks: Uint8Array;
}

/** Nodes that are asked for before they are needed: a store may be far away. */
const readAhead = 16;

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
  const beside = other?.levels === tree.levels ? other.root : undefined;
  if (isNew(tree.root, beside))
    yield* walk(nodes, { name: tree.root, level: tree.levels, loading: loadPair(nodes, tree.root, beside, tree.levels, signal) }, signal);
}

const isNew = (name: Uint8Array, beside: Uint8Array | undefined): boolean => !isZeroName(name) && !(beside && sameName(name, 0, beside, 0));

interface Walked {
  readonly name: Uint8Array;
  readonly level: number;
  /** Its entries, and those of the node beside it, where there is one. */
  readonly loading: Promise<readonly [Uint8Array, Uint8Array | undefined]>;
}

async function* walk(nodes: Pick<Nodes, "load">, { name, level, loading }: Walked, signal: AbortSignal): AsyncGenerator<NewNames> {
  signal.throwIfAborted();
  const [entries, others] = await loading;
  yield { node: name, chunks: level === 1 ? entriesBeside(entries, others) : new Uint8Array() };
  if (level === 1) return;
  const wanted = Array.from({ length: fanOut }, (_, i) => i).filter((i) => isNew(childOf(entries, i), others && childOf(others, i)));
  const start = (i: number): Walked => {
    const [child, beside] = [childOf(entries, i), others && childOf(others, i)];
    return { name: child, level: level - 1, loading: loadPair(nodes, child, beside, level - 1, signal) };
  };
  const ahead = wanted.slice(0, readAhead).map(start);
  for (const i of wanted.keys()) {
    const next = wanted[i + readAhead];
    if (next !== undefined) ahead.push(start(next));
    yield* walk(nodes, ahead.shift()!, signal);
  }
}

function loadPair(
  nodes: Pick<Nodes, "load">,
  name: Uint8Array,
  beside: Uint8Array | undefined,
  level: number,
  signal: AbortSignal,
): Walked["loading"] {
  const other = beside && !isZeroName(beside) ? loaded(nodes, beside, level, signal) : undefined;
  const loading = Promise.all([nodes.load(name, level, signal), other]);
  // It is awaited in its turn, or never when the walk ends early.
  loading.catch(() => undefined);
  return loading;
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
