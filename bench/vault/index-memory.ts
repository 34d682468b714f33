import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { openStore, type Secret, Vault } from "@godwit/vault";
import { nameLength } from "../../packages/vault/src/format/names.ts";
import { objectName } from "../../packages/vault/src/format/objects.ts";
import { encodeSegment, entryLength } from "../../packages/vault/src/format/segment.ts";
import { VaultIndex } from "../../packages/vault/src/index/vault-index.ts";
import { unlock } from "../../packages/vault/src/keys/keys.ts";

const perSegment = 1 << 17;
const perPack = 1024;
const secret: Secret = { kind: "keyfile", bytes: Buffer.alloc(32, 9) };
const { signal } = new AbortController();
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

export interface IndexFigures {
  readonly chunks: number;
  readonly bytesPerChunk: number;
  readonly openSeconds: number;
  /** Of names that are not there, and that are, per second. */
  readonly absentPerSecond: number;
  readonly presentPerSecond: number;
}

async function resident(): Promise<number> {
  // What is outside the heap goes a turn after what owned it.
  for (let turn = 0; turn < 4; turn += 1) {
    collect();
    await new Promise(setImmediate);
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Opens a vault's index of so many made-up chunks and looks at what stays in memory. */
export async function measureIndex(folder: string, chunks: number): Promise<IndexFigures> {
  const location = join(folder, "index-vault");
  await rm(location, { recursive: true, force: true });
  await using store = await openStore(location, { signal, create: true });
  await Vault.init(store, { signal, secret, label: "bench" });
  const keys = await unlock(store, secret, signal);
  const known: Uint8Array[] = [];
  for (let first = 0; first < chunks; first += perSegment) {
    const count = Math.min(perSegment, chunks - first);
    const batch = randomBytes(10).toString("hex");
    const entries = new Uint8Array(randomBytes(count * entryLength));
    const view = new DataView(entries.buffer);
    for (let i = 0; i < count; i += 1) view.setUint32(i * entryLength + nameLength, Math.floor(i / perPack), true);
    known.push(entries.slice(0, nameLength));
    const packs = Array.from({ length: Math.ceil(count / perPack) }, () => ({
      name: objectName.pack("data", batch, randomBytes(16).toString("hex")),
      tableOffset: 1 << 20,
      tableLength: 1 << 15,
    }));
    await store.put(objectName.index(batch), [encodeSegment(keys.current, batch, packs, entries)], { signal });
  }
  const before = await resident();
  const index = new VaultIndex(store, keys);
  const began = performance.now();
  await index.refresh(signal);
  const openSeconds = (performance.now() - began) / 1000;
  const bytesPerChunk = ((await resident()) - before) / chunks;
  const figures = { chunks, bytesPerChunk, openSeconds, absentPerSecond: absent(index), presentPerSecond: await presentIn(index, known) };
  await rm(location, { recursive: true, force: true });
  return figures;
}

function absent(index: VaultIndex): number {
  const count = 20_000;
  const names = randomBytes(count * nameLength);
  const began = performance.now();
  for (let i = 0; i < count; i += 1) index.surelyNew(names, i * nameLength);
  return count / ((performance.now() - began) / 1000);
}

async function presentIn(index: VaultIndex, known: readonly Uint8Array[]): Promise<number> {
  const names = known.slice(0, 500);
  const began = performance.now();
  for (const name of names) for await (const _place of index.places(name, signal)) break;
  return names.length / ((performance.now() - began) / 1000);
}
