import assert from "node:assert/strict";
import { test } from "node:test";
import { copyPoints, type Point, type Vault } from "@godwit/vault";
import { MemoryDisk, newVault, noise, reopen, secret, signal } from "./support/disks.ts";
import { MemoryStore } from "./support/memory-store.ts";

const kib = 1024;
const passphrase = { kind: "passphrase" as const, passphrase: "another one" };

function days(count: number): Uint8Array[] {
  const disk = new Uint8Array(600 * kib + 700);
  disk.set(noise(400 * kib, 1));
  return Array.from({ length: count }, (_, day) => {
    disk.set(noise(20 * kib, day + 10), (day * 130 * kib) % (500 * kib));
    return Uint8Array.from(disk);
  });
}

async function fill(vault: Vault, contents: readonly Uint8Array[]): Promise<Point[]> {
  const points: Point[] = [];
  for (const content of contents) {
    const disks = [{ name: "vda", source: new MemoryDisk(content), logicalSector: 4096 }];
    const machine = { definition: "<domain/>", files: [{ name: "nvram", data: Buffer.from(noise(100, 2)) }] };
    const consistency = { level: "filesystem" as const, evidence: ["frozen"] };
    points.push(await vault.put({ name: "db", disks, machine, consistency, reasons: ["daily"], ...base(points.at(-1)) }, { signal }));
  }
  return points;
}

const base = (point: Point | undefined): { base?: Point } => (point ? { base: point } : {});

async function expectSame(vault: Vault, copy: Point, original: Point, content: Uint8Array): Promise<void> {
  const target = new MemoryDisk(content.length);
  await vault.restore(copy, "vda", target, { signal });
  assert.ok(Buffer.from(target.content).equals(content));
  const { name, time, consistency, reasons, machine } = original;
  assert.deepEqual({ ...copy, name, time, consistency, reasons, machine }, copy);
  assert.equal(copy.disks[0]!.logicalSector, 4096);
}

for (const grid of [4096, 16_384]) {
  test(`a copy into a vault with other keys and a grid of ${grid} gives the same points, and again sends nothing`, async () => {
    const { vault: from } = await newVault();
    const contents = days(4);
    const originals = await fill(from, contents);
    const { store, vault: to } = await newVault({ secret: passphrase, grid });
    const { copied, failed } = await copyPoints(from, to, { signal });
    assert.equal(copied.length, 4);
    assert.deepEqual(failed, []);
    const { points } = await to.points({ signal });
    for (const [i, copy] of points.entries()) {
      await expectSame(to, copy, originals[i]!, contents[i]!);
      assert.deepEqual(copy.origin, { vault: from.id, point: originals[i]!.id });
      assert.equal(copy.parent, points[i - 1]?.id);
    }
    const before = store.objects.size;
    const again = await copyPoints(from, to, { signal });
    assert.deepEqual([again.copied.length, again.present.length, store.objects.size], [0, 4, before]);
  });
}

test("a later point costs what differs, on both sides", async () => {
  const { store: source, vault: from } = await newVault();
  const contents = days(2);
  const [first] = await fill(from, contents.slice(0, 1));
  const { vault: to } = await newVault({ secret: passphrase });
  await copyPoints(from, to, { signal });
  await from.put({ name: "db", base: first!, disks: [{ name: "vda", source: new MemoryDisk(contents[1]!) }] }, { signal });
  source.readBytes = 0;
  const { copied, storedBytes } = await copyPoints(await reopen(source), to, { signal });
  assert.equal(copied.length, 1);
  assert.ok(storedBytes < 60 * kib, String(storedBytes));
  assert.ok(source.readBytes < 300 * kib, String(source.readBytes));
});

test("a copy that dies at any write goes on where it was", async () => {
  const { vault: from } = await newVault();
  const contents = days(2);
  const originals = await fill(from, contents);
  const { store: empty } = await newVault({ secret });
  for (let boundary = 0; ; boundary += 1) {
    const store = new MemoryStore(empty.objects);
    let count = 0;
    store.fault = () => (count++ >= boundary ? "fail-before" : "ok");
    const died = await copyPoints(from, await reopen(store), { signal }).then(
      () => false,
      () => true,
    );
    store.fault = () => "ok";
    const to = await reopen(store);
    await copyPoints(from, to, { signal });
    const { points } = await to.points({ signal });
    assert.deepEqual(
      points.map(({ origin }) => origin?.point),
      originals.map(({ id }) => id),
      `death at write ${boundary}`,
    );
    for (const [i, copy] of points.entries()) await expectSame(to, copy, originals[i]!, contents[i]!);
    if (!died) {
      assert.ok(boundary > 10);
      break;
    }
  }
});

test("a damaged point of the source is reported and the others are copied", async () => {
  const { store, vault } = await newVault();
  const contents = days(2);
  await fill(vault, contents.slice(0, 1));
  const own = new Set(store.objects.keys());
  await vault.put({ name: "other", disks: [{ name: "vda", source: new MemoryDisk(noise(50 * kib, 77)) }] }, { signal });
  const packs = [...store.objects.keys()].filter((name) => name.startsWith("data/") && !own.has(name));
  for (const pack of packs) store.objects.get(pack)![80]! ^= 1;
  const { vault: to } = await newVault({ secret: passphrase });
  const { copied, failed } = await copyPoints(await reopen(store), to, { signal });
  assert.equal(copied.length, 1);
  assert.equal(failed.length, 1);
  assert.match(failed[0]!.why, /damaged/);
});
