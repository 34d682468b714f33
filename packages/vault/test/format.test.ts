import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { MemoryDisk, newVault, noise, signal } from "./support/disks.ts";
import type { MemoryStore } from "./support/memory-store.ts";

const run = promisify(execFile);
const reader = resolve(import.meta.dirname, "../../../docs/formats/read-vault.mjs");
const folder = mkdtempSync(join(tmpdir(), "godwit-vault-"));
after(() => rmSync(folder, { recursive: true }));

function spill(store: MemoryStore, into: string): void {
  for (const [name, object] of store.objects) {
    mkdirSync(dirname(join(into, name)), { recursive: true });
    writeFileSync(join(into, name), object);
  }
}

test("a stranger's reader restores any point from the format document alone, across a re-key", async () => {
  const { store, vault } = await newVault();
  const one = new Uint8Array(700_123);
  one.set(noise(300_000, 1), 50_000);
  one.fill(68, 400_000, 500_000);
  one.set(noise(123, 3), 700_000);
  const two = Uint8Array.from(one);
  two.fill(69, 100_000, 140_000);
  const first = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(one) }] }, { signal });
  await vault.rekey({ signal });
  const disks = [
    { name: "vda", source: new MemoryDisk(two) },
    { name: "vdb", source: new MemoryDisk(9000) },
  ];
  const second = await vault.put({ name: "web1", base: first, disks }, { signal });
  const root = join(folder, "vault");
  spill(store, root);
  const passphrase = join(folder, "passphrase");
  writeFileSync(passphrase, "correct horse\n");
  const listed = await run(process.execPath, [reader, root, passphrase]);
  assert.match(listed.stdout, new RegExp(`${second.id} \\S+ web1 vda \\(700123 bytes\\), vdb`));
  const target = join(folder, "disk.img");
  for (const [point, disk, content] of [
    [first, "vda", one],
    [second, "vda", two],
    [second, "vdb", new Uint8Array(9000)],
  ] as const) {
    await run(process.execPath, [reader, root, passphrase, point.id.slice(0, 8), disk, target]);
    assert.ok(readFileSync(target).equals(content), `${point.id} ${disk}`);
  }
});
