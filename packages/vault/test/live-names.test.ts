import assert from "node:assert/strict";
import { randomFillSync } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { hex, Namer, nameLength, zeroName } from "../src/format/names.ts";
import { decodeNode, fanOut, levelsFor } from "../src/format/node.ts";
import { inRange, LiveFilter, rangesFor } from "../src/ops/gc/live-filter.ts";
import { TreeEditor } from "../src/tree/editor.ts";
import { newNames } from "../src/tree/new-names.ts";
import { type Tree, walkLeaves } from "../src/tree/nodes.ts";
import { signal } from "./support/disks.ts";

test("a filter never denies a name it was given, hardly ever takes another for one, and says when it is full", () => {
  const count = 20_000;
  const names = randomFillSync(new Uint8Array(count * nameLength));
  const filter = new LiveFilter(count);
  for (let at = 0; at < names.length; at += nameLength) filter.add(names, at);
  for (let at = 0; at < names.length; at += nameLength) assert.ok(filter.has(names, at));
  const others = randomFillSync(new Uint8Array(count * nameLength));
  let taken = 0;
  for (let at = 0; at < others.length; at += nameLength) if (filter.has(others, at)) taken += 1;
  assert.ok(taken <= 1, String(taken));
  const small = new LiveFilter(1);
  assert.throws(() => names.forEach((_, i) => i % nameLength === 0 && small.add(names, i)), { kind: "missing" });
});

test("ranges are all names, each once, and none has more than fits into the memory", () => {
  fc.assert(
    fc.property(
      fc.nat(10_000_000),
      fc.integer({ min: 1000, max: 1 << 28 }),
      fc.uint8Array({ minLength: 24, maxLength: 24 }),
      (names, bytes, name) => {
        const ranges = rangesFor(names, bytes);
        assert.equal(ranges.filter((range) => inRange(name, 0, range)).length, 1);
      },
    ),
  );
});

/** Trees in memory, over chunks that are named by a number. */
class Forest {
  readonly #namer = new Namer(new Uint8Array(32).fill(1));
  readonly #nodes = new Map<string, Uint8Array>();
  readonly load = (name: Uint8Array, level: number): Promise<Uint8Array> => Promise.resolve(decodeNode(this.#nodes.get(hex(name))!, level));

  async make(chunks: readonly number[]): Promise<Tree> {
    const levels = levelsFor(chunks.length);
    const emit = (name: Uint8Array, node: Uint8Array): Promise<void> =>
      Promise.resolve(void this.#nodes.set(hex(name), Uint8Array.from(node)));
    const load = (name: Uint8Array, level: number): Promise<Uint8Array> =>
      hex(name) === hex(zeroName) ? Promise.resolve(new Uint8Array(fanOut * nameLength)) : this.load(name, level);
    const editor = new TreeEditor({ nodes: { load }, namer: this.#namer, levels, root: zeroName, emit });
    for (const [i, chunk] of chunks.entries()) await editor.set(i, nameOf(chunk), signal);
    return { root: await editor.finish(), levels, chunks: chunks.length };
  }
}

const nameOf = (chunk: number): Uint8Array => (chunk === 0 ? zeroName : new Uint8Array(nameLength).fill(chunk));

async function chunksOf(forest: Forest, tree: Tree): Promise<string[]> {
  const chunks: string[] = [];
  for await (const { first, names } of walkLeaves(forest, tree, { from: 0, to: Infinity }, signal)) {
    for (let i = 0; i < fanOut; i += 1) {
      const name = hex(names.subarray(i * nameLength, (i + 1) * nameLength));
      if (name !== hex(zeroName)) chunks.push(`${first + i} ${name}`);
    }
  }
  return chunks;
}

test("what a tree needs beyond another is all that it has and the other has not at that place", async () => {
  const chunks = fc.array(fc.nat(3), { minLength: 1, maxLength: 300 });
  await fc.assert(
    fc.asyncProperty(chunks, chunks, fc.boolean(), async (one, two, edited) => {
      const forest = new Forest();
      const before = await forest.make(one);
      // Mostly the same disk, a little changed.
      const tree = await forest.make(edited ? one.map((chunk, i) => (i % 70 === 0 ? (two[i] ?? 1) : chunk)) : two);
      const found = new Set<string>();
      for await (const { node, chunks } of newNames(forest, tree, before, signal)) {
        found.add(hex(node));
        for (let at = 0; at < chunks.length; at += nameLength) found.add(hex(chunks.subarray(at, at + nameLength)));
      }
      const known = new Set(await chunksOf(forest, before));
      for (const place of await chunksOf(forest, tree)) if (!known.has(place)) assert.ok(found.has(place.split(" ")[1]!), place);
      const all: string[] = [];
      for await (const { node } of newNames(forest, tree, undefined, signal)) all.push(hex(node));
      const same: unknown[] = await Array.fromAsync(newNames(forest, tree, tree, signal));
      assert.deepEqual(same, []);
      assert.ok(found.size <= all.length + 3);
    }),
    { numRuns: 60 },
  );
});
