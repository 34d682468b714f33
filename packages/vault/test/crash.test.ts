import assert from "node:assert/strict";
import { test } from "node:test";
import { type Point, Vault } from "@godwit/vault";
import { cheap, grid, MemoryDisk, newVault, noise, reopen, secret, signal, tuning } from "./support/disks.ts";
import { MemoryStore } from "./support/memory-store.ts";

const kib = 1024;

function disks(): { one: Uint8Array; two: Uint8Array } {
  const one = new Uint8Array(700 * kib);
  one.set(noise(640 * kib, 4));
  const two = Uint8Array.from(one);
  two.set(noise(500 * kib, 5), 8 * kib);
  return { one, two };
}

const putDisk = (vault: Vault, content: Uint8Array, base?: Point): Promise<Point> =>
  vault.put({ name: "db", disks: [{ name: "vda", source: new MemoryDisk(content) }], ...(base ? { base } : {}) }, { signal });

async function restored(vault: Vault, point: Point): Promise<Uint8Array> {
  const target = new MemoryDisk(point.disks[0]!.size);
  await vault.restore(point, "vda", target, { signal });
  return target.content;
}

test("a put that dies at any write leaves a vault that verifies clean, with all older points, and the next put finishes", async () => {
  const { store: original, vault } = await newVault();
  const { one, two } = disks();
  const first = await putDisk(vault, one);
  for (const how of ["fail-before", "fail-after"] as const) {
    for (let boundary = 0; ; boundary += 1) {
      const store = new MemoryStore(original.objects);
      let count = 0;
      store.fault = () => (count++ >= boundary ? (count > boundary + 1 ? "fail-before" : how) : "ok");
      const died = await putDisk(await reopen(store), two, first).then(
        () => false,
        () => true,
      );
      if (!died) {
        assert.ok(boundary > 6, "the put has several boundaries");
        break;
      }
      store.fault = () => "ok";
      const after = await reopen(store);
      const found = await after.verify({ signal, packs: "all" });
      assert.deepEqual(found.damage, [], `${how} at write ${boundary}`);
      assert.deepEqual(await restored(after, first), one);
      const finished = await putDisk(after, two, first);
      assert.deepEqual(await restored(await reopen(store), finished), two);
      const { points } = await after.points({ signal });
      assert.ok(points.length === 2 || (points.length === 3 && how === "fail-after"));
      for (const point of points) assert.ok(point.disks.length === 1);
    }
  }
});

test("an interrupted put is gone on with: what a pack holds is not sent again", async () => {
  const { store, vault } = await newVault();
  const { one } = disks();
  let packs = 0;
  store.fault = (_operation, name) => (name.startsWith("data/") && (packs += 1) > 2 ? "fail-before" : "ok");
  await assert.rejects(putDisk(vault, one));
  const durable = [...store.objects].filter(([name]) => name.startsWith("data/")).reduce((sum, [, object]) => sum + object.length, 0);
  assert.ok(durable > 300 * kib);
  store.fault = () => "ok";
  const point = await putDisk(await reopen(store), one);
  assert.ok(point.figures["adoptedPacks"]! >= 2);
  assert.ok(point.figures["storedBytes"]! < 640 * kib - durable + 60 * kib);
  assert.deepEqual(await restored(await reopen(store), point), one);
  assert.deepEqual(
    [...store.objects.keys()].filter((name) => name.startsWith("session/")),
    [],
  );
});

test("an init that dies at any write can be done again", async () => {
  for (const how of ["fail-before", "fail-after"] as const) {
    for (let boundary = 0; ; boundary += 1) {
      const store = new MemoryStore();
      let count = 0;
      store.fault = () => (count++ === boundary ? how : "ok");
      const init = (): Promise<Vault> => Vault.init(store, { signal, secret, label: "test", cost: cheap, grid, tuning });
      const died = await init().then(
        () => false,
        () => true,
      );
      if (!died) break;
      store.fault = () => "ok";
      if (!store.objects.has("config")) await init();
      const { one } = disks();
      const point = await putDisk(await reopen(store), one);
      assert.deepEqual(await restored(await reopen(store), point), one);
    }
  }
});

test("a re-key that dies at any write locks nobody out and loses nothing", async () => {
  const { store: original, vault } = await newVault();
  const { one, two } = disks();
  const first = await putDisk(vault, one);
  for (let boundary = 0; ; boundary += 1) {
    const store = new MemoryStore(original.objects);
    let count = 0;
    store.fault = () => (count++ === boundary ? "fail-after" : "ok");
    const died = await (await reopen(store)).rekey({ signal }).then(
      () => false,
      () => true,
    );
    if (!died) break;
    store.fault = () => "ok";
    const after = await reopen(store);
    await after.rekey({ signal });
    const second = await putDisk(await reopen(store), two, first);
    assert.deepEqual(await restored(await reopen(store), first), one);
    assert.deepEqual(await restored(await reopen(store), second), two);
  }
});

test("what a failed put stored is counted on by nobody else of the same process", async () => {
  const { store, vault } = await newVault();
  const { one } = disks();
  store.fault = (_operation, name) => (name.startsWith("index/") ? "fail-before" : "ok");
  await assert.rejects(putDisk(vault, one));
  store.fault = () => "ok";
  const other = await vault.put({ name: "other", disks: [{ name: "vda", source: new MemoryDisk(one) }] }, { signal });
  assert.deepEqual(await restored(await reopen(store), other), one);
});

test("a cancelled put says so, stops at once and leaves no point", async () => {
  const { store, vault } = await newVault();
  const { one } = disks();
  const controller = new AbortController();
  store.fault = (_operation, name) => {
    if (name.startsWith("data/")) controller.abort(new Error("enough"));
    return "ok";
  };
  const put = vault.put({ name: "db", disks: [{ name: "vda", source: new MemoryDisk(one) }] }, { signal: controller.signal });
  await assert.rejects(put, { message: "enough" });
  assert.deepEqual((await vault.points({ signal })).points, []);
});
