import { type Namer, nameLength, sameName, zeroName } from "../format/names.ts";
import { encodeNode, fanOut } from "../format/node.ts";
import { childOf, type Nodes } from "./nodes.ts";

interface Open {
  /** Number of the node among those of its level; -1 when none is open. */
  index: number;
  readonly entries: Uint8Array;
  changed: boolean;
}

export interface TreeEditorOptions {
  readonly nodes: Pick<Nodes, "load">;
  readonly namer: Namer;
  readonly levels: number;
  /** What everything is that is not set: the zero name for a blank tree. */
  readonly root: Uint8Array;
  /** Called once for each new node, children first. */
  readonly emit: (name: Uint8Array, node: Uint8Array) => Promise<void>;
}

/**
 * Makes a tree out of another one and changes to it, reading and writing only the nodes on the way to the
 * changes: one open node per level. Changes in ascending order cost least; any order is right.
 */
export class TreeEditor {
  readonly #options: TreeEditorOptions;
  /** By level; [0] is unused, and one past the top holds the root's name. */
  readonly #open: Open[];

  constructor(options: TreeEditorOptions) {
    this.#options = options;
    this.#open = Array.from({ length: options.levels + 2 }, () => ({
      index: -1,
      entries: new Uint8Array(fanOut * nameLength),
      changed: false,
    }));
    const top = this.#open[options.levels + 1]!;
    top.index = 0;
    top.entries.set(options.root);
  }

  /** Gives the chunks from number `first` on their names. */
  async set(first: number, names: Uint8Array, signal: AbortSignal): Promise<void> {
    const count = names.length / nameLength;
    for (let i = 0; i < count; i += 1) {
      const chunk = first + i;
      const leaf = this.#open[1]!;
      if (leaf.index !== Math.floor(chunk / fanOut)) await this.#seek(1, Math.floor(chunk / fanOut), signal);
      this.#put(leaf, chunk, names.subarray(i * nameLength, (i + 1) * nameLength));
    }
  }

  /** Makes the chunks `from` (included) to `to` (not included) zero, whole subtrees at once. */
  async zero(from: number, to: number, signal: AbortSignal): Promise<void> {
    for (let chunk = from; chunk < to;) {
      let level = 1;
      while (level <= this.#options.levels && chunk % fanOut ** level === 0 && chunk + fanOut ** level <= to) level += 1;
      await this.#clear(level, chunk / fanOut ** (level - 1), signal);
      chunk += fanOut ** (level - 1);
    }
  }

  /** Emits what is open; the name of the root. */
  async finish(): Promise<Uint8Array> {
    await this.#close(this.#options.levels);
    return this.#open[this.#options.levels + 1]!.entries.slice(0, nameLength);
  }

  /** Zeroes one entry of a node of `level`, dropping what is open below it. */
  async #clear(level: number, entry: number, signal: AbortSignal): Promise<void> {
    const parent = Math.floor(entry / fanOut);
    if (this.#open[level]!.index !== parent) await this.#seek(level, parent, signal);
    const below = this.#open[level - 1];
    if (level > 1 && below!.index === entry) for (let l = level - 1; l >= 1; l -= 1) this.#open[l]!.index = -1;
    this.#put(this.#open[level]!, entry, zeroName);
  }

  #put(node: Open, entry: number, name: Uint8Array): void {
    const at = (entry % fanOut) * nameLength;
    if (sameName(node.entries, at, name, 0)) return;
    node.entries.set(name, at);
    node.changed = true;
  }

  /** Opens node `index` of `level`, with its parents. */
  async #seek(level: number, index: number, signal: AbortSignal): Promise<void> {
    const node = this.#open[level]!;
    if (node.index === index) return;
    await this.#close(level);
    if (level > this.#options.levels) return;
    await this.#seek(level + 1, Math.floor(index / fanOut), signal);
    const name = childOf(this.#open[level + 1]!.entries, level === this.#options.levels ? 0 : index);
    node.entries.set(await this.#options.nodes.load(name, level, signal));
    node.index = index;
    node.changed = false;
  }

  /** Emits the open nodes of `level` and below that have changed, and closes them. */
  async #close(level: number): Promise<void> {
    for (let l = 1; l <= Math.min(level, this.#options.levels); l += 1) {
      const node = this.#open[l]!;
      const { index, changed } = node;
      if (index < 0) continue;
      node.index = -1;
      if (!changed) continue;
      const bytes = encodeNode(l, node.entries);
      const name = bytes ? this.#options.namer.name(bytes) : zeroName;
      const parent = this.#open[l + 1]!;
      const entry = l === this.#options.levels ? 0 : index;
      if (bytes && !sameName(parent.entries, (entry % fanOut) * nameLength, name, 0)) await this.#options.emit(name, bytes);
      this.#put(parent, entry, name);
    }
  }
}
