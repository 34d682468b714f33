import assert from "node:assert/strict";
import { test } from "node:test";
import type { Point, Vault } from "@godwit/vault";
import { MemoryDisk, newVault, noise, reopen, signal } from "./support/disks.ts";
import { MemoryStore } from "./support/memory-store.ts";

const kib = 1024;
const day = 24 * 3600 * 1000;

const put = (vault: Vault, name: string, content: Uint8Array): Promise<Point> =>
  vault.put({ name, disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });

async function expectContent(vault: Vault, name: string, content: Uint8Array): Promise<Point> {
  const point = await vault.point(name, { signal });
  const target = new MemoryDisk(content.length);
  await vault.restore(point, "vda", target, { signal });
  assert.ok(Buffer.from(target.content).equals(content), name);
  return point;
}

const epochOf = (object: Uint8Array): number => Buffer.from(object).readUInt32LE(12);

test("after a re-key everything is rewritten in bounded runs, the old keys are dropped, and every point is as it was", async () => {
  const { store, vault } = await newVault();
  const [one, two] = [noise(500 * kib, 1), noise(300 * kib, 2)];
  const old = await put(vault, "a", one);
  await put(vault, "b", two);
  await vault.hold(old, { reason: "keep me" }, { signal });
  await vault.rekey({ signal });
  let runs = 0;
  for (; ; runs += 1) {
    const { remaining, dropped } = await vault.rewriteOldEpochs({ signal, maxRewriteBytes: 300 * kib });
    await expectContent(await reopen(store), "a", one);
    await expectContent(await reopen(store), "b", two);
    if (Object.keys(remaining).length > 0) continue;
    assert.deepEqual(dropped, [1]);
    break;
  }
  assert.ok(runs >= 2, `bounded runs: ${runs}`);
  for (const [name, object] of store.objects) {
    if (/^(?:config|slot|grant)/.test(name)) continue;
    assert.equal(epochOf(object), 2, name);
  }
  const after = await reopen(store);
  const renewed = await after.point("a", { signal });
  assert.deepEqual(renewed.formerly, [old.id]);
  assert.equal((await after.point(old.id.slice(0, 12), { signal })).id, renewed.id);
  await assert.rejects(after.deletePoint(renewed.id, { signal }), { kind: "held" });
  assert.deepEqual((await after.verify({ signal, packs: "all" })).damage, []);
  assert.deepEqual(
    (await after.status({ signal })).epochs.map(({ epoch }) => epoch),
    [1, 2],
  );
  await after.rekey({ signal });
  await expectContent(await reopen(store), "a", one);
});

for (const how of ["fail-before", "fail-after"] as const) {
  test(`a rewriting that dies at any write (${how}) loses nothing, and the next one finishes`, async () => {
    const { store: original, vault } = await newVault();
    const [one, two] = [noise(60 * kib, 1), noise(30 * kib, 2)];
    const old = await put(vault, "a", one);
    await put(vault, "b", two);
    await vault.hold(old, { reason: "keep me" }, { signal });
    await vault.rekey({ signal });
    for (let boundary = 0; ; boundary += 1) {
      const store = new MemoryStore(original.objects);
      let count = 0;
      store.fault = () => (count++ >= boundary ? (count > boundary + 1 ? "fail-before" : how) : "ok");
      await (await reopen(store)).rewriteOldEpochs({ signal }).catch(() => undefined);
      const died = count > boundary;
      store.fault = () => "ok";
      store.now = () => 4 * day;
      const where = `${how} at write ${boundary}`;
      assert.equal((await (await reopen(store)).points({ signal })).points.length, 2, where);
      for (let run = 0; run < 4; run += 1) {
        const { remaining } = await (await reopen(store)).rewriteOldEpochs({ signal });
        if (Object.keys(remaining).length === 0) break;
        assert.ok(run < 3, `${where}: ${JSON.stringify(remaining)}`);
      }
      const after = await reopen(store);
      const renewed = await expectContent(after, "a", one);
      await expectContent(after, "b", two);
      assert.equal((await after.points({ signal })).points.length, 2, where);
      await assert.rejects(after.deletePoint(renewed.id, { signal }), { kind: "held" });
      assert.deepEqual((await after.verify({ signal, packs: "all" })).damage, [], where);
      if (!died) {
        assert.ok(boundary > 25, String(boundary));
        break;
      }
    }
  });
}

test("status says what is stored, by epoch, and what is dead", async () => {
  const { vault } = await newVault();
  const gone = await put(vault, "a", noise(100 * kib, 1));
  await put(vault, "b", noise(50 * kib, 2));
  await vault.deletePoint(gone.id, { signal });
  await vault.rekey({ signal });
  await put(vault, "b", noise(50 * kib, 3));
  const status = await vault.status({ signal, estimateDead: true });
  assert.deepEqual([status.points, status.machines, status.logicalBytes], [2, 1, 100 * kib]);
  assert.ok(status.stored.data.bytes > 200 * kib && status.stored.all.bytes > status.stored.data.bytes);
  assert.deepEqual(
    status.epochs.map(({ epoch, packs }) => [epoch, packs > 0]),
    [
      [1, true],
      [2, true],
    ],
  );
  assert.ok(status.dead!.bytes >= 100 * kib && status.dead!.bytes < 130 * kib);
  assert.deepEqual([status.sessions, status.hurt, status.holds, status.condemnedPacks], [[], [], [], 0]);
});
