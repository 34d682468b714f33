import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CancelledError, type Clock, type Extent, systemClock } from "@godwit/core";
import { LocalStore, Vault } from "@godwit/vault";
import { type VaultRecord, Vaults } from "../../src/index.ts";
import { MemoryCollection } from "../network/support.ts";

const secret = { kind: "passphrase", passphrase: "x" } as const;

/** A vault in a folder of its own, as a server has it registered. */
async function registered(signal: AbortSignal, clock: Clock = systemClock): Promise<AsyncDisposable & { vault: Vault; vaults: Vaults }> {
  const folder = await mkdtemp(join(tmpdir(), "godwit-vaults-"));
  const passphraseFile = join(folder, "passphrase");
  await writeFile(passphraseFile, "x\n");
  const location = join(folder, "vault");
  const store = await LocalStore.open(location, { signal, create: true });
  const vault = await Vault.init(store, { secret, label: "test", cost: { memoryKiB: 64 << 10, passes: 1, lanes: 1 }, signal });
  const record = { id: vault.id, name: "main", location, passphraseFile, addedAt: "" };
  const records = { get: async () => record, list: async () => [record], put: async () => undefined, delete: async () => undefined };
  const vaults = new Vaults(records, clock);
  const dispose = async (): Promise<void> => {
    await vaults[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  };
  return { vault, vaults, [Symbol.asyncDispose]: dispose };
}

test("a job that is cancelled while it opens a vault takes nobody along who waits for the same one", async () => {
  const signal = AbortSignal.timeout(20_000);
  await using world = await registered(signal);
  const { vault, vaults } = world;
  const cancel = new AbortController();
  const first = vaults.open("main", { signal: cancel.signal });
  const second = vaults.open("main", { signal });
  await new Promise((resolve) => setTimeout(resolve, 5));
  cancel.abort(new CancelledError("enough"));
  await assert.rejects(first, { message: "enough" });
  assert.equal((await second).id, vault.id);
});

test("who waits no longer for a vault that does not open goes", { timeout: 10_000 }, async () => {
  const directory = await mkdtemp(join(tmpdir(), "godwit-vaults-"));
  await using _gone = { [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
  const passphraseFile = join(directory, "pipe");
  execFileSync("mkfifo", [passphraseFile]);
  const records = new MemoryCollection<VaultRecord>();
  await records.put("v", { id: "v", name: "main", location: directory, passphraseFile, addedAt: "" });
  await using vaults = new Vaults(records, systemClock);
  const opening = vaults.open("main", { signal: AbortSignal.timeout(20_000) });
  opening.catch(() => undefined);
  for (const wait of [vaults.open.bind(vaults), vaults.openApart.bind(vaults)])
    await assert.rejects(wait("main", { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
  await writeFile(passphraseFile, "a passphrase\n");
  await assert.rejects(opening, { kind: "invalid" });
});

test("what is captured a minute after a re-key is sealed with the newer key", async () => {
  const signal = AbortSignal.timeout(20_000);
  let minutes = 0;
  await using world = await registered(signal, { ...systemClock, now: () => Date.now(), monotonic: () => minutes * 60_000 });
  const { vault, vaults } = world;
  const epochsOf = async (): Promise<number[]> => {
    const { epochs } = await vault.status({ signal });
    return epochs.filter(({ packs }) => packs > 0).map(({ epoch }) => epoch);
  };
  const capture = async (fill: number): Promise<void> => {
    const source = { size: 65_536, extents: () => data(), read: async (_: number, into: Uint8Array) => void into.fill(fill) };
    const disks = [{ name: "vda", source: { ...source, [Symbol.asyncDispose]: () => Promise.resolve() } }];
    await (await vaults.open("main", { signal })).put({ name: "web", disks }, { signal });
  };
  await capture(1);
  await vault.rekey({ signal });
  minutes = 2;
  await capture(2);
  assert.deepEqual(await epochsOf(), [1, 2]);
});

async function* data(): AsyncGenerator<Extent> {
  yield { offset: 0, length: 65_536, kind: "data" };
}
