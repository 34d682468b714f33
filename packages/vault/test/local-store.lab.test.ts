import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { LocalStore, StoreError, Vault } from "@godwit/vault";
import { cheap, grid, MemoryDisk, noise, secret, tuning } from "./support/disks.ts";
import { type Mounted, mountNew } from "./support/mounts.ts";
import { bytesOf, isKind, namesIn, storeContract } from "./support/store-contract.ts";

const { signal } = new AbortController();

for (const kind of ["ext4", "xfs", "tmpfs"] as const) {
  describe(`a directory on ${kind}`, () => {
    let mounted: Mounted;
    let store: LocalStore;
    let other: LocalStore;
    before(async () => {
      mounted = await mountNew(kind, 400);
      const path = join(mounted.path, "vault");
      store = await LocalStore.open(path, { signal, create: true });
      other = await LocalStore.open(path, { signal });
    });
    after(async () => {
      await store?.[Symbol.asyncDispose]();
      await other?.[Symbol.asyncDispose]();
      await mounted?.[Symbol.asyncDispose]();
    });

    for (const { title, check } of storeContract) it(title, () => check({ store, other, [Symbol.asyncDispose]: () => Promise.resolve() }));
  });

  it(`says that ${kind} is full, leaves no part of anything, and goes on when there is room`, async () => {
    await using mounted = await mountNew(kind, kind === "xfs" ? 320 : 48);
    await using store = await LocalStore.open(join(mounted.path, "vault"), { signal, create: true });
    const vault = await Vault.init(store, { signal, secret, label: "test", cost: cheap, grid, tuning });
    const small = noise(2 << 20, 1);
    const disks = (content: Uint8Array): { name: string; disks: { name: string; source: MemoryDisk }[] } => ({
      name: "web",
      disks: [{ name: "vda", source: new MemoryDisk(content) }],
    });
    const first = await vault.put(disks(small), { signal });

    const ballast: string[] = [];
    const full = async (): Promise<void> => {
      for (let i = 0; ; i += 1) {
        await store.put(`ballast/${i}`, [bytesOf(4 << 20, i)], { signal });
        ballast.push(`ballast/${i}`);
      }
    };
    await assert.rejects(full(), isKind("no-space"));
    const large = noise(8 << 20, 2);
    await assert.rejects(vault.put(disks(large), { signal }), (error) => error instanceof StoreError && error.kind === "no-space");
    assert.deepEqual(await readdir(join(store.location, ".tmp")), []);
    assert.deepEqual(await namesIn(store, "ballast/"), ballast.toSorted());

    const restored = new MemoryDisk(small.length);
    await vault.restore(first, "vda", restored, { signal });
    assert.equal(Buffer.compare(restored.content, small), 0);
    for (const name of ballast) await store.delete(name, { signal });
    const second = await vault.put(disks(large), { signal });
    assert.deepEqual((await vault.verify({ signal, packs: "all" })).damage, []);
    const again = new MemoryDisk(large.length);
    await vault.restore(second, "vda", again, { signal });
    assert.equal(Buffer.compare(again.content, large), 0);
  });
}
