import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { systemClock } from "@godwit/core";
import { openStore, Vault } from "@godwit/vault";
import { type VaultRecord, Vaults } from "../../src/protection/index.ts";
import { MemoryCollection } from "../network/support.ts";

const cost = { memoryKiB: 1024, passes: 1, lanes: 1 };
const { signal } = new AbortController();

describe("registered vaults", () => {
  test("are opened for everybody who waits, also when the one who asked first gave up", async () => {
    const directory = await mkdtemp(join(tmpdir(), "godwit-vaults-"));
    await using _gone = { [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
    const passphraseFile = join(directory, "pass");
    await writeFile(passphraseFile, "a passphrase\n");
    const location = join(directory, "vault");
    await mkdir(location);
    await using store = await openStore(location, { signal });
    const { id } = await Vault.init(store, { secret: { kind: "passphrase", passphrase: "a passphrase" }, label: "test", cost, signal });
    const records = new MemoryCollection<VaultRecord>();
    await records.put(id, { id, name: "main", location, passphraseFile, addedAt: "" });
    await using vaults = new Vaults(records, systemClock);
    const hurried = new AbortController();
    const first = vaults.open("main", { signal: hurried.signal });
    first.catch(() => undefined);
    const second = vaults.open("main", { signal });
    hurried.abort(new Error("gave up"));
    await assert.rejects(first, /gave up/);
    assert.equal((await second).id, id);
  });

  test("let those go who wait no longer for one that does not open", { timeout: 10_000 }, async () => {
    const directory = await mkdtemp(join(tmpdir(), "godwit-vaults-"));
    await using _gone = { [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
    const passphraseFile = join(directory, "pipe");
    execFileSync("mkfifo", [passphraseFile]);
    const records = new MemoryCollection<VaultRecord>();
    await records.put("v", { id: "v", name: "main", location: directory, passphraseFile, addedAt: "" });
    await using vaults = new Vaults(records, systemClock);
    const opening = vaults.open("main", { signal });
    opening.catch(() => undefined);
    for (const wait of [vaults.open.bind(vaults), vaults.openApart.bind(vaults)])
      await assert.rejects(wait("main", { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
    await writeFile(passphraseFile, "a passphrase\n");
    await assert.rejects(opening, { kind: "invalid" });
  });
});
