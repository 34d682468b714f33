import assert from "node:assert/strict";
import { test } from "node:test";
import { makeRecoveryCode, parseRecoveryCode, type Secret, Vault } from "@godwit/vault";
import { cheap, MemoryDisk, newVault, noise, reopen, secret, signal, tuning } from "./support/disks.ts";
import { MemoryStore } from "./support/memory-store.ts";

const opens = (store: MemoryStore, by: Secret): Promise<Vault> => Vault.open(store, by, { signal, tuning });
const other: Secret = { kind: "passphrase", passphrase: "battery staple" };

test("slots of every kind open the vault, and a removed one does not", async () => {
  const { store, vault } = await newVault();
  const code = makeRecoveryCode();
  const keyfile: Secret = { kind: "keyfile", bytes: noise(64, 5) };
  await vault.addSlot({ secret: keyfile, label: "file" }, { signal });
  await vault.addSlot({ secret: { kind: "recovery", code }, label: "paper" }, { signal });
  const id = await vault.addSlot({ secret: other, label: "second", cost: cheap }, { signal });
  for (const by of [secret, keyfile, other, { kind: "recovery", code: code.toLowerCase().replaceAll("-", " ") } as const]) {
    assert.equal((await opens(store, by)).id, vault.id);
  }
  const slots = await vault.slots({ signal });
  assert.deepEqual(slots.map(({ label }) => label).toSorted(), ["file", "paper", "second", "test"]);
  assert.ok(slots.every(({ vouched }) => vouched));
  await vault.removeSlot(id, { signal });
  await assert.rejects(opens(store, other), { kind: "locked" });
  assert.equal((await opens(store, secret)).id, vault.id);
});

test("the last slot stays", async () => {
  const { vault } = await newVault();
  const [only] = await vault.slots({ signal });
  await assert.rejects(vault.removeSlot(only!.id, { signal }), { kind: "invalid" });
});

test("after a re-key every slot that stays opens old and new, and who kept a removed slot reads nothing new", async () => {
  const { store, vault } = await newVault();
  const id = await vault.addSlot({ secret: other, label: "leaver", cost: cheap }, { signal });
  const content = noise(100_000, 1);
  const first = await vault.put({ name: "a", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  const kept = new MemoryStore(store.objects);
  await vault.removeSlot(id, { signal });
  assert.deepEqual(await vault.rekey({ signal }), { epoch: 2, leftOut: [] });
  const changed = noise(100_000, 2);
  const second = await vault.put({ name: "a", disks: [{ name: "vda", source: new MemoryDisk(changed) }] }, { signal });
  for (const [point, bytes] of [
    [first, content],
    [second, changed],
  ] as const) {
    const target = new MemoryDisk(bytes.length);
    await (await reopen(store)).restore(point, "vda", target, { signal });
    assert.deepEqual(target.content, bytes);
  }
  // The leaver's own copy of slot and grant, beside everything that was written since.
  const stolen = new MemoryStore(new Map([...store.objects, ...kept.objects]));
  const leaver = await opens(stolen, other);
  await assert.rejects(leaver.point(second.id, { signal }), { kind: "locked" });
  const target = new MemoryDisk(content.length);
  await leaver.restore(await leaver.point(first.id, { signal }), "vda", target, { signal });
  assert.deepEqual(target.content, content);
});

test("a slot that the storage smuggled in is granted nothing by a re-key", async () => {
  const { store, vault } = await newVault();
  const foreign = await newVault();
  const smuggled = await foreign.vault.addSlot({ secret: other, label: "mallory", cost: cheap }, { signal });
  for (const [name, object] of foreign.store.objects) {
    if (name.includes(smuggled))
      store.objects.set(name, Buffer.from(Buffer.from(object).toString().replaceAll(foreign.vault.id, vault.id)));
  }
  assert.deepEqual(
    (await vault.slots({ signal })).filter(({ vouched }) => !vouched).map(({ id }) => id),
    [smuggled],
  );
  assert.deepEqual(await vault.rekey({ signal }), { epoch: 2, leftOut: [smuggled] });
  assert.equal(store.objects.has(`grant/${smuggled}/00000002`), false);
});

test("a damaged epoch object is no loss: it has a second copy", async () => {
  const { store } = await newVault();
  store.objects.get("epoch/00000001")![40]! ^= 1;
  await reopen(store);
  store.objects.delete("epoch/00000001");
  await reopen(store);
});

test("a recovery code survives typing and tells a wrong letter", () => {
  const code = makeRecoveryCode();
  assert.match(code, /^(?:[A-Z2-7]{7}-){7}[A-Z2-7]{7}$/);
  assert.equal(parseRecoveryCode(` ${code.toLowerCase()} `).length, 32);
  const wrong = (code.startsWith("A") ? "B" : "A") + code.slice(1);
  assert.throws(() => parseRecoveryCode(wrong), { kind: "invalid" });
});
