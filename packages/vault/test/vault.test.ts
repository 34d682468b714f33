import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import type { Extent } from "@godwit/core";
import { type Compression, compressions, prepareThreads, Vault } from "@godwit/vault";
import { cheap, MemoryDisk, newVault, noise, reopen, secret, signal, tuning } from "./support/disks.ts";
import { MemoryStore } from "./support/memory-store.ts";

const kib = 1024;

function sampleDisk(seed: number): Uint8Array {
  const content = new Uint8Array(900 * kib + 512);
  content.set(noise(300 * kib, seed), 8 * kib);
  content.fill(65, 400 * kib, 500 * kib);
  content.set(noise(3000, seed + 1), content.length - 3000);
  return content;
}

test("what is put is what comes back, by restore and by reading at random", async () => {
  const { store, vault } = await newVault();
  const content = sampleDisk(1);
  const point = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  const again = await reopen(store);
  const target = new MemoryDisk(content.length);
  target.content.fill(7);
  await again.restore(point, "vda", target, { signal });
  assert.deepEqual(target.content, content);
  await using source = await again.openDisk(point, undefined, { signal });
  const part = new Uint8Array(70_001);
  await source.read(395_000, part, { signal });
  assert.deepEqual(part, content.subarray(395_000, 395_000 + part.length));
  const extents: Extent[] = await Array.fromAsync(source.extents({ signal }));
  assert.equal(extents[0]!.kind, "zero");
  assert.equal(
    extents.reduce((sum, one) => sum + one.length, 0),
    content.length,
  );
});

test("a vault that is renewed sees what others put, and asks to be opened again when there is a newer key", async () => {
  const { store, vault } = await newVault();
  const content = sampleDisk(1);
  await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  const other = await reopen(store);
  prepareThreads();
  const put = { name: "web2", disks: [{ name: "vda", source: new MemoryDisk(sampleDisk(5)) }] };
  const point = await other.put(put, { signal });
  const again = await other.put({ ...put, name: "web3" }, { signal });
  assert.equal(again.figures["newChunks"], 0, "threads serve one put, and the next has its own");
  const renewed = await vault.renewed({ signal });
  assert.ok(renewed);
  const target = new MemoryDisk(content.length);
  await renewed.restore(point, "vda", target, { signal });
  assert.deepEqual(target.content, sampleDisk(5));
  await other.rekey({ signal });
  assert.equal(await vault.renewed({ signal }), undefined);
});

test("a put with a list of changes reads nothing else and gives the same tree as a full one", async () => {
  const { vault } = await newVault();
  const content = sampleDisk(1);
  const base = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  content.set(noise(5000, 9), 100 * kib + 77);
  content.fill(0, 400 * kib, 460 * kib);
  const changed: Extent[] = [
    { offset: 100 * kib + 77, length: 5000, kind: "data" },
    { offset: 400 * kib, length: 60 * kib, kind: "zero" },
  ];
  const disk = new MemoryDisk(content);
  const next = await vault.put({ name: "web1", base, disks: [{ name: "vda", source: disk, changed }] }, { signal });
  assert.equal(disk.readBytes, 2 * 4096);
  const full = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  assert.equal(next.disks[0]!.root, full.disks[0]!.root);
  assert.equal(full.figures["newChunks"], 0);
  const differences = await Array.fromAsync(vault.diff(base, next, "vda", { signal }));
  assert.deepEqual(differences, [
    { offset: 100 * kib, length: 8 * kib, kind: "data" },
    { offset: 400 * kib, length: 60 * kib, kind: "zero" },
  ]);
});

test("worker threads give the same tree as none", async () => {
  const content = sampleDisk(3);
  const { vault, store } = await newVault();
  const alone = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  const threaded = await Vault.open(store, secret, { signal, tuning: { ...tuning, threads: 2 } });
  content.set(noise(40_000, 8), 100_000);
  prepareThreads();
  const second = await threaded.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  const target = new MemoryDisk(content.length);
  await threaded.restore(second, "vda", target, { signal, blank: true });
  assert.deepEqual(target.content, content);
  const third = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  assert.equal(third.disks[0]!.root, second.disks[0]!.root);
  assert.notEqual(third.disks[0]!.root, alone.disks[0]!.root);
});

test("threads that were prepared serve the next put, and keep no process alive when there is none", async () => {
  const program = 'import { prepareThreads } from "@godwit/vault"; prepareThreads();';
  const args = ["--conditions=godwit-source", "--input-type=module", "--eval", program];
  await promisify(execFile)(process.execPath, args, { cwd: import.meta.dirname, timeout: 60_000 });
  const { vault } = await newVault({ tuning: { ...tuning, threads: 2 } });
  prepareThreads(1);
  const content = sampleDisk(5);
  const point = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  const target = new MemoryDisk(content.length);
  await vault.restore(point, "vda", target, { signal });
  assert.deepEqual(target.content, content);
});

test("little is stored without threads, much with threads that take over from the first bytes on", async () => {
  const { vault } = await newVault({ tuning: { ...tuning, threads: 2, packBytes: 1 << 20 } });
  const threads = (): number => process.getActiveResourcesInfo().filter((kind) => kind === "MessagePort").length;
  const before = threads();
  for (const [mib, expected] of [
    [1, 0],
    [9, 2],
  ] as const) {
    const content = noise(mib << 20, mib);
    const source = new MemoryDisk(content);
    let most = 0;
    const watched = Object.assign(Object.create(source) as MemoryDisk, {
      read: async (...args: Parameters<MemoryDisk["read"]>) => {
        most = Math.max(most, threads() - before);
        await source.read(...args);
      },
    });
    const point = await vault.put({ name: `web${mib}`, disks: [{ name: "vda", source: watched }] }, { signal });
    assert.equal(most, expected);
    const target = new MemoryDisk(content.length);
    await vault.restore(point, "vda", target, { signal });
    assert.deepEqual(target.content, content);
  }
});

test("chunks of a run that are not new in the middle of it do not hide their neighbours", async () => {
  const { store, vault } = await newVault();
  const content = noise(300 * kib, 11);
  await vault.put({ name: "a", disks: [{ name: "vda", source: new MemoryDisk(content.slice(100 * kib, 112 * kib)) }] }, { signal });
  const point = await vault.put({ name: "b", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  assert.equal(point.figures["newChunks"], 72);
  const target = new MemoryDisk(content.length);
  await (await reopen(store)).restore(point, "vda", target, { signal });
  assert.deepEqual(target.content, content);
});

test("an in-place restore writes only what differs", async () => {
  const { vault } = await newVault();
  const content = sampleDisk(1);
  const point = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  const target = new MemoryDisk(Uint8Array.from(content));
  target.content.fill(1, 20 * kib, 21 * kib);
  target.content.fill(1, 700 * kib, 701 * kib);
  await vault.restore(point, "vda", target, { signal, present: target });
  assert.deepEqual(target.content, content);
  assert.equal(target.wroteBytes, 4096);
});

test("a wrong passphrase is refused", async () => {
  const { store } = await newVault();
  await assert.rejects(Vault.open(store, { kind: "passphrase", passphrase: "wrong" }, { signal }), { kind: "locked" });
});

test("an in-place restore writes zeros only where the target holds data", async () => {
  const { vault } = await newVault();
  const content = new Uint8Array(4096 * kib);
  content.set(noise(4000, 5), 2048 * kib);
  const point = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  const target = new MemoryDisk(Uint8Array.from(content));
  target.content.fill(1, 512 * kib, 520 * kib);
  target.content.fill(1, 4000 * kib, 4004 * kib);
  const zeroed: number[] = [];
  const sink = {
    size: target.size,
    write: (offset: number, data: Uint8Array) => target.write(offset, data),
    writeZeroes: async (offset: number, length: number) => {
      zeroed.push(length);
      await target.writeZeroes(offset, length);
    },
    flush: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  await vault.restore(point, "vda", sink, { signal, present: target });
  assert.deepEqual(target.content, content);
  assert.ok(zeroed.reduce((sum, length) => sum + length, 0) < 128 * kib, String(zeroed));
});

test("smaller compression stores fewer bytes, and what it stored is given back by any vault", async () => {
  // The same twice, at a distance that is larger than a record is otherwise, and not on the grid.
  const text = Buffer.concat([noise(300 * kib, 1), Buffer.alloc(777, 1), noise(300 * kib, 1)]);
  const disks = [{ name: "vda", source: new MemoryDisk(new Uint8Array(text)) }];
  const stored = async (compression: Compression): Promise<number> => {
    const own = new MemoryStore();
    await Vault.init(own, { signal, secret, label: "test", cost: cheap });
    const vault = await Vault.open(own, secret, { signal, tuning: { ...compressions[compression], threads: 0 } });
    const point = await vault.put({ name: "web1", disks }, { signal });
    const plain = await Vault.open(own, secret, { signal, tuning: { threads: 0 } });
    const target = new MemoryDisk(text.length);
    await plain.restore(point, "vda", target, { signal, blank: true });
    assert.equal(Buffer.compare(target.content, text), 0);
    return [...own.objects].reduce((sum, [name, bytes]) => sum + (name.startsWith("data/") ? bytes.length : 0), 0);
  };
  assert.ok((await stored("small")) < (await stored("fast")));
});
