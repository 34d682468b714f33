import assert from "node:assert/strict";
import { test } from "node:test";
import type { Point } from "@godwit/vault";
import { MemoryDisk, newVault, noise, reopen, signal } from "./support/disks.ts";
import { MemoryStore } from "./support/memory-store.ts";

const kib = 1024;

interface Sample {
  readonly store: MemoryStore;
  readonly first: Point;
  readonly second: Point;
  readonly contents: readonly Uint8Array[];
}

/** Two points of one disk, with text, noise and zeros; the second shares most of the first. */
async function sample(): Promise<Sample> {
  const { store, vault } = await newVault();
  const one = new Uint8Array(600 * kib + 100);
  one.set(noise(250 * kib, 1));
  one.fill(66, 300 * kib, 420 * kib);
  for (let at = 300 * kib; at < 420 * kib; at += 4 * kib) one[at] = at / (4 * kib);
  const two = Uint8Array.from(one);
  two.set(noise(30 * kib, 2), 100 * kib);
  const put = (content: Uint8Array): Promise<Point> =>
    vault.put({ name: "db", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  return { store, first: await put(one), second: await put(two), contents: [one, two] };
}

/** The places of an object that its format tells apart, and a few more. */
function classesOf(name: string, size: number): number[] {
  const header = [0, 5, 8, 12, 16, 31];
  const ends = [size - 1, size - 9, size - 13, size - 16, size - 17, size - 40];
  const inside = [32, 36, 40, 41, 100, Math.floor(size / 2), Math.floor(size / 3), Math.floor((size * 4) / 5)];
  const all =
    name.startsWith("slot") || name.startsWith("grant") || name === "config"
      ? [2, Math.floor(size / 2), size - 3]
      : [...header, ...inside, ...ends];
  return [...new Set(all.filter((at) => at >= 0 && at < size))];
}

const trouble = async (store: MemoryStore): Promise<string> => {
  try {
    const result = await (await reopen(store)).verify({ signal, packs: "all", quarantine: false });
    return result.damage.map(({ object, problem }) => `${object}: ${problem}`).join("\n");
  } catch (error) {
    return String(error);
  }
};

test("a vault without damage verifies clean", async () => {
  const { store, first, second } = await sample();
  const result = await (await reopen(store)).verify({ signal, packs: "all" });
  assert.deepEqual(result.damage, []);
  assert.deepEqual(result.whole.toSorted(), [first.id, second.id].toSorted());
  assert.ok(result.packs >= 4);
});

test("a flipped bit is found in every object, wherever its format has something", async () => {
  const { store } = await sample();
  // Slots and grants are opened, not verified; a second copy of an epoch is not looked at while the first is well.
  for (const [name, object] of store.objects) {
    if (name.startsWith("spare/") || name.startsWith("slot/")) continue;
    for (const at of classesOf(name, object.length)) {
      const copy = new MemoryStore(store.objects);
      const hurt = Uint8Array.from(object);
      hurt[at]! ^= 0x10;
      copy.objects.set(name, hurt);
      const found = await trouble(copy);
      if (name.startsWith("epoch/") || name.startsWith("grant/") || name === "config") {
        // Redundant, or fatal to the slot: either it opens as before, or says so.
        assert.ok(found === "" || /damaged|locked|config|slot|key|grant/.test(found), `${name} at ${at}: ${found}`);
      } else {
        assert.match(found, new RegExp(name.split("/").at(-1)!), `${name} at ${at} of ${object.length}`);
      }
    }
  }
});

test("a cut, missing or swapped object is found", async () => {
  const { store } = await sample();
  const packs = [...store.objects.keys()].filter((name) => /^(?:data|tree|index|point)\//.test(name));
  for (const name of packs) {
    const cut = new MemoryStore(store.objects);
    cut.objects.set(name, store.objects.get(name)!.subarray(0, -20));
    assert.notEqual(await trouble(cut), "", `${name} cut`);
    if (name.startsWith("point/")) continue;
    const gone = new MemoryStore(store.objects);
    gone.objects.delete(name);
    assert.notEqual((await trouble(gone)) + (await lost(gone)), "", `${name} gone`);
  }
  const [a, b] = packs.filter((name) => name.startsWith("data/"));
  const swapped = new MemoryStore(store.objects);
  swapped.objects.set(a!, store.objects.get(b!)!);
  swapped.objects.set(b!, store.objects.get(a!)!);
  assert.match(await trouble(swapped), new RegExp(a!));
  const [p, q] = packs.filter((name) => name.startsWith("point/"));
  swapped.objects.set(p!, store.objects.get(q!)!);
  assert.match(await trouble(swapped), new RegExp(p!));
});

async function lost(store: MemoryStore): Promise<string> {
  const { hurt } = await (await reopen(store)).verify({ signal, packs: "all", quarantine: false });
  return JSON.stringify(hurt.length > 0 ? hurt : "");
}

test("verify says which points are hurt and where, which are whole, and a later put heals them", async () => {
  const { store, first, second, contents } = await sample();
  // The second put's own pack: it holds what only the second point has.
  const own = [...store.objects.keys()].filter((name) => name.startsWith("data/")).at(-1)!;
  store.objects.get(own)![60]! ^= 1;
  const vault = await reopen(store);
  const result = await vault.verify({ signal, packs: "all" });
  assert.deepEqual(result.whole, [first.id]);
  assert.equal(result.hurt.length, 1);
  assert.equal(result.hurt[0]!.point, second.id);
  const [extent] = result.hurt[0]!.extents;
  assert.ok(extent!.offset >= 100 * kib && extent!.offset + extent!.length <= 132 * kib);
  const target = new MemoryDisk(contents[1]!.length);
  await assert.rejects(vault.restore(second, "vda", target, { signal }), { kind: "corrupt" });
  const salvaged = await vault.restore(second, "vda", target, { signal, salvage: true });
  assert.deepEqual(salvaged.damaged.map(({ offset }) => offset)[0], extent!.offset);

  const healed = await vault.put({ name: "db", base: second, disks: [{ name: "vda", source: new MemoryDisk(contents[1]!) }] }, { signal });
  assert.equal(healed.disks[0]!.root, second.disks[0]!.root);
  assert.ok(healed.figures["newChunks"]! > 0);
  await (await reopen(store)).restore(second, "vda", target, { signal });
  assert.deepEqual(target.content, contents[1]);
  const after = await (await reopen(store)).verify({ signal, packs: "all" });
  assert.deepEqual(after.hurt, []);
});

test("an index that is lost or damaged is rebuilt from the packs", async () => {
  const { store, second, contents } = await sample();
  const [gone, flipped] = [...store.objects.keys()].filter((name) => name.startsWith("index/"));
  store.objects.delete(gone!);
  store.objects.get(flipped!)![50]! ^= 1;
  store.objects.delete("config");
  const vault = await reopen(store);
  const target = new MemoryDisk(contents[1]!.length);
  await assert.rejects(vault.restore(second, "vda", target, { signal }), { kind: "missing" });
  const repaired = await vault.repair({ signal });
  assert.equal(repaired.config, true);
  assert.ok(repaired.packsIndexed >= 4);
  await vault.restore(second, "vda", target, { signal });
  assert.deepEqual(target.content, contents[1]);
  assert.deepEqual((await (await reopen(store)).verify({ signal, packs: "all" })).damage, []);
});

test("verify goes on where a pack's table and the index that could stand in for it are both damaged", async () => {
  const { store } = await sample();
  const named = (prefix: string): string[] => [...store.objects.keys()].filter((name) => name.startsWith(prefix));
  const [pack] = named("data/");
  // Its trailer; and of the segments, their last blocks.
  for (const name of [pack!, ...named("index/")]) {
    const object = store.objects.get(name)!;
    object[object.length - 1]! ^= 1;
  }
  const { damage } = await (await reopen(store)).verify({ signal, packs: "all" });
  const objects = new Set(damage.map(({ object }) => object));
  for (const name of [pack!, ...named("index/")]) assert.ok(objects.has(name), `${name} is named`);
});

test("the check of a single point reads only what it needs", async () => {
  const { store, first } = await sample();
  const own = [...store.objects.keys()].filter((name) => name.startsWith("data/")).at(-1)!;
  store.objects.get(own)![60]! ^= 1;
  const result = await (await reopen(store)).verify({ signal, packs: "all", points: [first] });
  assert.deepEqual(result.whole, [first.id]);
});
