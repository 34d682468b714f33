import assert from "node:assert/strict";
import { test } from "node:test";
import { type Point, Vault } from "@godwit/vault";
import { cheap, grid, MemoryDisk, noise, secret, signal, tuning } from "./support/disks.ts";
import { MemoryStore } from "./support/memory-store.ts";

const kib = 1024;
const day = 24 * 3600 * 1000;

class TestClock {
  time = Date.parse("2026-11-24T12:00:00Z");
  now = (): number => this.time;
  monotonic = (): number => this.time;
  sleep = (): Promise<void> => Promise.resolve();
}

async function lockable(enforcesRetention = true): Promise<{ store: MemoryStore; vault: Vault; clock: TestClock }> {
  const store = new MemoryStore(new Map(), { enforcesRetention });
  const clock = new TestClock();
  store.now = clock.now;
  const vault = await Vault.init(store, { signal, secret, label: "test", cost: cheap, grid, tuning, clock });
  return { store, vault, clock };
}

const put = (vault: Vault, name: string, content: Uint8Array): Promise<Point> =>
  vault.put({ name, disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });

test("a locked point is deleted by nobody before its time, not even by who locked it; then it goes", async () => {
  const { store, vault, clock } = await lockable();
  const content = noise(300 * kib, 1);
  const point = await put(vault, "a", content);
  const until = clock.now() + 30 * day;
  const { hold, objects } = await vault.lock(point, { until, reason: "retention" }, { signal });
  assert.ok(objects > 7);
  await assert.rejects(vault.deletePoint(point.id, { signal }), { kind: "held" });
  await assert.rejects(vault.release(point, hold.id, { signal }), { kind: "held" });
  // Somebody with the storage's credentials and no manners gets nowhere, either: all that a restore needs stays.
  for (const name of store.objects.keys()) await store.delete(name, { signal }).catch(() => undefined);
  const after = await Vault.open(store, secret, { signal, tuning, clock });
  await after.repair({ signal });
  const target = new MemoryDisk(content.length);
  await after.restore(point, "vda", target, { signal });
  assert.ok(Buffer.from(target.content).equals(content));
  clock.time = until + 1;
  await after.deletePoint(point.id, { signal });
  await after.gc({ signal });
  assert.deepEqual(
    [...store.objects.keys()].filter((name) => /^(?:data|tree|point|hold)\//.test(name)),
    [],
  );
});

test("a lock is extended, never shortened, and covers what the point shares with others", async () => {
  const { store, vault, clock } = await lockable();
  const shared = noise(200 * kib, 1);
  const first = await put(vault, "a", shared);
  const second = await put(vault, "b", shared);
  const until = clock.now() + 10 * day;
  await vault.lock(second, { until, reason: "retention" }, { signal });
  await vault.lock(second, { until: until - 5 * day, reason: "shorter" }, { signal });
  await vault.lock(second, { until: until + 5 * day, reason: "longer" }, { signal });
  await vault.deletePoint(first.id, { signal });
  await vault.gc({ signal });
  const { holds } = await vault.status({ signal, checkLocks: true });
  assert.deepEqual(holds.map(({ enforcedUntil, name }) => [enforcedUntil, name])[0], [until + 5 * day, "b"]);
  const data = [...store.objects.keys()].find((name) => name.startsWith("data/"))!;
  await assert.rejects(store.delete(data, { signal }), { kind: "retained" });
});

test("status tells a lock that the storage enforces from one that it does not", async () => {
  const { vault, clock } = await lockable(false);
  const point = await put(vault, "a", noise(20 * kib, 1));
  const { objects } = await vault.lock(point, { until: clock.now() + day, reason: "retention" }, { signal });
  assert.equal(objects, 0);
  const { holds } = await vault.status({ signal, checkLocks: true });
  assert.equal(holds.length, 1);
  assert.equal(holds[0]!.enforcedUntil, undefined);
});

test("gc leaves packs alone while the storage locks them, and frees them afterwards", async () => {
  const { store, vault, clock } = await lockable();
  const old = noise(700 * kib, 1);
  const young = Uint8Array.from(old);
  young.set(noise(600 * kib, 2), 0);
  const first = await put(vault, "a", old);
  const packs = [...store.objects.keys()].filter((name) => name.startsWith("data/"));
  for (const name of packs) await store.extendRetention(name, clock.now() + day, { signal });
  const second = await put(vault, "a", young);
  await vault.deletePoint(first.id, { signal });
  const before = [...store.objects.keys()];
  const { pending, rewrittenPacks } = await vault.gc({ signal, maxDeadShare: 0 });
  assert.deepEqual([pending, rewrittenPacks], [[], 0]);
  assert.ok(packs.every((name) => store.objects.has(name)) && before.length >= store.objects.size);
  clock.time += day + 1;
  await vault.gc({ signal, maxDeadShare: 0 });
  assert.ok(!packs.some((name) => store.objects.has(name)));
  const target = new MemoryDisk(young.length);
  await vault.restore(second, "vda", target, { signal });
  assert.ok(Buffer.from(target.content).equals(young));
});

test("credentials that may not delete are enough to capture, lock and restore, and destroy nothing", async () => {
  const { store, vault, clock } = await lockable();
  store.fault = (operation) => (operation === "delete" ? "fail-before" : "ok");
  const content = noise(300 * kib, 1);
  const first = await put(vault, "a", content);
  content.set(noise(10 * kib, 2), 50 * kib);
  const disks = [
    { name: "vda", source: new MemoryDisk(content), changed: [{ offset: 50 * kib, length: 10 * kib, kind: "data" as const }] },
  ];
  const second = await vault.put({ name: "a", base: first, disks }, { signal });
  await vault.lock(second, { until: clock.now() + day, reason: "retention" }, { signal });
  const target = new MemoryDisk(content.length);
  await vault.restore(second, "vda", target, { signal });
  assert.ok(Buffer.from(target.content).equals(content));
  await assert.rejects(vault.deletePoint(first.id, { signal }));
  // What such a client leaves is gone after a gc with the right to delete.
  store.fault = () => "ok";
  clock.time += 4 * day;
  await vault.gc({ signal });
  assert.deepEqual(
    [...store.objects.keys()].filter((name) => name.startsWith("session/")),
    [],
  );
});
