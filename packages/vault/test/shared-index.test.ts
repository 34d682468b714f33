import assert from "node:assert/strict";
import { test } from "node:test";
import type { BlockSource, Extent } from "@godwit/core";
import { type GcProgress, Vault } from "@godwit/vault";
import { VaultIndex } from "../src/index/vault-index.ts";
import { unlock } from "../src/keys/keys.ts";
import { MemoryDisk, newVault, noise, reopen, secret, signal, tuning } from "./support/disks.ts";
import { FaultyStore } from "./support/faulty-store.ts";

/** A disk that is read when it may be. */
class Gate implements BlockSource {
  readonly size: number;
  readonly opened = Promise.withResolvers<void>();
  readonly reached = Promise.withResolvers<void>();
  readonly #disk: MemoryDisk;

  constructor(content: Uint8Array) {
    this.#disk = new MemoryDisk(content);
    this.size = content.length;
  }

  async *extents(options: { signal: AbortSignal }): AsyncGenerator<Extent> {
    this.reached.resolve();
    await this.opened.promise;
    yield* this.#disk.extents(options);
  }

  async read(offset: number, into: Uint8Array, options: { signal: AbortSignal }): Promise<void> {
    await this.#disk.read(offset, into, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

const puts = (vault: Vault, name: string, source: BlockSource): ReturnType<Vault["put"]> =>
  vault.put({ name, disks: [{ name: "vda", source }] }, { signal });

test(
  "captures that share an opened vault count on nothing that gc took away while another one of them begins",
  { timeout: 20_000 },
  async () => {
    const { store, vault } = await newVault();
    const content = noise(60_000, 7);
    const { id } = await puts(vault, "old", new MemoryDisk(content));
    await vault.deletePoint(id, { signal });
    // Something is under way, so that gc marks what is dead, and waits.
    const waitedFor = new Gate(noise(9000, 8));
    const before = puts(await reopen(store), "before", waitedFor);
    await waitedFor.reached.promise;
    const waiting = Promise.withResolvers<void>();
    const onProgress = ({ step }: GcProgress): void => void (step === "wait" && waiting.resolve());
    const collecting = (await reopen(store)).gc({ signal, waitMs: 500, onProgress });
    await waiting.promise;
    // A capture begins and sees the mark; then the mark goes, with all that it condemned.
    const faulty = new FaultyStore(store);
    const shared = await Vault.open(faulty, secret, { signal, tuning });
    const first = new Gate(content);
    // What it looks up at first has it keep the part of the index in memory that tells of the rest.
    const disks = [
      { name: "vda", source: new MemoryDisk(content.subarray(0, 8192)) },
      { name: "vdb", source: first },
    ];
    const capturing = shared.put({ name: "first", disks }, { signal });
    await first.reached.promise;
    waitedFor.opened.resolve();
    await before;
    assert.ok((await collecting).deletedPacks > 0);
    // Another one begins, and has only seen that there is no mark when the first one comes to what was taken away.
    const listed = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    faulty.script = ({ operation, name }) => {
      if (operation !== "list" || name !== "index/") return undefined;
      listed.resolve();
      return { kind: "delay", until: goOn.promise };
    };
    const second = puts(shared, "second", new MemoryDisk(noise(9000, 9)));
    await listed.promise;
    first.opened.resolve();
    const point = await capturing;
    goOn.resolve();
    await second;
    const target = new MemoryDisk(content.length);
    await (await reopen(store)).restore(point, "vdb", target, { signal });
    assert.ok(Buffer.from(target.content).equals(content));
  },
);

test("an index that is read anew twice at a time ends as the reading says that began last", { timeout: 20_000 }, async () => {
  const { store, vault } = await newVault();
  const { id } = await puts(vault, "old", new MemoryDisk(noise(60_000, 7)));
  await vault.deletePoint(id, { signal });
  const waitedFor = new Gate(noise(9000, 8));
  const before = puts(await reopen(store), "before", waitedFor);
  await waitedFor.reached.promise;
  const listed = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const faulty = new FaultyStore(store, ({ operation, name }) => {
    if (operation !== "list" || name !== "index/") return undefined;
    listed.resolve();
    return { kind: "delay", until: goOn.promise };
  });
  const index = new VaultIndex(faulty, await unlock(store, secret, signal));
  const slow = index.refresh(signal);
  await listed.promise;
  await (await reopen(store)).gc({ signal });
  faulty.script = () => undefined;
  await index.refresh(signal);
  assert.equal(index.condemned.marks.length, 1);
  goOn.resolve();
  await slow;
  assert.deepEqual([index.condemned.marks.length, index.segments.length], [1, 1]);
  waitedFor.opened.resolve();
  await before;
});
