import assert from "node:assert/strict";
import { test } from "node:test";
import { HurtRecords } from "../src/index/hurt.ts";
import { unlock } from "../src/keys/keys.ts";
import { newVault, secret, signal } from "./support/disks.ts";

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
