import assert from "node:assert/strict";
import { test } from "node:test";
import { HurtRecords } from "../src/index/hurt.ts";
import { unlock } from "../src/keys/keys.ts";
import { newVault, secret, signal } from "./support/disks.ts";
import { FaultyStore } from "./support/faulty-store.ts";

test("when one quarantine ends, the others stand", async () => {
  const { store } = await newVault();
  const keys = await unlock(store, secret, signal);
  const hurt = new HurtRecords();
  const packs = ["1", "2", "3"].map((digit) => `data/${"0".repeat(20)}/${digit.repeat(32)}`);
  for (const pack of packs) await hurt.mark(store, keys, { pack, records: [32], whole: false }, { time: 0, signal });
  await hurt.refresh(store, keys, signal);
  for (const name of store.objects.keys()) if (name.startsWith(`hurt/${"2".repeat(32)}/`)) store.objects.delete(name);
  await hurt.refresh(store, keys, signal);
  assert.deepEqual(
    packs.map((pack) => hurt.has({ pack, offset: 32 })),
    [true, false, true],
  );
});

test("while it is read anew because one ended, the others stand too: a capture may ask meanwhile", async () => {
  const { store } = await newVault();
  const keys = await unlock(store, secret, signal);
  const hurt = new HurtRecords();
  const [gone = "", other = ""] = ["1", "2"].map((digit) => `data/${"0".repeat(20)}/${digit.repeat(32)}`);
  for (const pack of [gone, other]) await hurt.mark(store, keys, { pack, records: [32], whole: false }, { time: 0, signal });
  await hurt.refresh(store, keys, signal);
  for (const name of store.objects.keys()) if (name.startsWith(`hurt/${"1".repeat(32)}/`)) store.objects.delete(name);
  const asked: boolean[] = [];
  const faulty = new FaultyStore(store, ({ operation }) => {
    if (operation === "get") asked.push(hurt.has({ pack: other, offset: 32 }));
    return undefined;
  });
  await hurt.refresh(faulty, keys, signal);
  assert.deepEqual([asked, hurt.has({ pack: gone, offset: 32 }), hurt.has({ pack: other, offset: 32 })], [[true], false, true]);
});
