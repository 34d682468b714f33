import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { LendingSource } from "@godwit/core";
import { LocalStore, Vault } from "@godwit/vault";
import { cheap, grid, MemoryDisk, newVault, noise, reopen, secret, signal, tuning } from "./support/disks.ts";

const kib = 1024;
const content = new Uint8Array(3000 * kib + 512);
for (let part = 0; part < 28; part += 1) if (part % 5 !== 3) content.set(noise(100 * kib, part + 1), part * 107 * kib);

/** Reads one request after the other, which is read ahead of; resolves to the offsets that failed. */
async function readOn(source: LendingSource, step: number): Promise<number[]> {
  const failed: number[] = [];
  for (let at = 0; at < content.length; at += step) {
    const into = new Uint8Array(Math.min(step, content.length - at));
    try {
      await source.read(at, into, { signal });
      assert.deepEqual(into, content.subarray(at, at + into.length), `at ${at}`);
    } catch (error) {
      if ((error as { kind?: string }).kind !== "corrupt") throw error;
      failed.push(at);
    }
  }
  return failed;
}

for (const threads of [0, 2]) {
  test(`readers that go on and readers at random see what was put, with little room and ${threads} threads`, async () => {
    const folder = await mkdtemp(join(tmpdir(), "godwit-disk-"));
    try {
      await using store = await LocalStore.open(folder, { signal, create: true });
      const vault = await Vault.init(store, { signal, secret, label: "test", cost: cheap, grid, tuning: { ...tuning, threads } });
      const point = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
      await using source = await vault.openDisk(point, "vda", { signal, cacheBytes: 600 * kib });
      const atRandom = async (seed: number): Promise<void> => {
        for (let i = 0; i < 60; i += 1) {
          const offset = (i * 7919 * seed * 512) % (content.length - 9000);
          const lent = await source.lend(offset, 9000, { signal });
          // Others evict what it lies in meanwhile: what is lent stays as it is.
          await new Promise(setImmediate);
          const bytes = Buffer.concat(lent.pieces.map(({ bytes, length }) => bytes ?? new Uint8Array(length)));
          lent.release();
          assert.equal(Buffer.compare(bytes, content.subarray(offset, offset + 9000)), 0, `at ${offset}`);
        }
      };
      const failed = await Promise.all([readOn(source, 20 * kib), readOn(source, grid), atRandom(1), atRandom(3)]);
      assert.deepEqual(failed.slice(0, 2), [[], []]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
}

test("damage fails the reads that touch it, and no others, also when it lies ahead", async () => {
  const { store, vault } = await newVault();
  const point = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  const packs = [...store.objects.keys()].filter((name) => name.startsWith("data/"));
  store.objects.get(packs[Math.floor(packs.length / 2)]!)![100]! ^= 1;
  await using source = await (await reopen(store)).openDisk(point, "vda", { signal });
  const failed = await readOn(source, grid);
  const { hurt } = await (await reopen(store)).verify({ signal, packs: "all", quarantine: false });
  const expected = hurt[0]!.extents.flatMap(({ offset, length }) =>
    Array.from({ length: Math.ceil(length / grid) }, (_, i) => offset + i * grid),
  );
  assert.deepEqual(failed, expected);
});
