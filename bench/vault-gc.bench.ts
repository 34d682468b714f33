/**
 * Prune and gc of a vault of many terabytes in names: real points, trees, indexes and keys, packs without
 * content. And what an index keeps in memory per chunk, at three sizes.
 *
 *   npm run bench -- vault-gc [--tib 5,10,20] [--grid-kib 1024] [--memory-mib 256] [--index-only] [--millions 1,10,100]
 *
 * Several sizes show whether the rate stays the same, which is what a size that is not run here may be told from.
 */
import { randomFillSync } from "node:crypto";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { systemClock } from "@godwit/core";
import { type Point, planPrune, Vault } from "@godwit/vault";
import { ObjectCipher } from "../packages/vault/src/format/envelope.ts";
import { objectName } from "../packages/vault/src/format/objects.ts";
import { encodeSegment, entryLength, parseSegmentPrefix, segmentPrefix } from "../packages/vault/src/format/segment.ts";
import { VaultIndex } from "../packages/vault/src/index/vault-index.ts";
import { createKeys } from "../packages/vault/src/keys/keys.ts";
import type { KeyRing } from "../packages/vault/src/keys/ring.ts";
import { writeConfig } from "../packages/vault/src/ops/config.ts";
import { defaultTuning, type VaultParts } from "../packages/vault/src/parts.ts";
import { Nodes, PackCiphers } from "../packages/vault/src/tree/nodes.ts";
import { segmentHeader, SparseStore, SyntheticPuts } from "./support/synthetic-vault.ts";

const signal = new AbortController().signal;
const secret = { kind: "passphrase" as const, passphrase: "bench" };
const machines = 10;
const days = 4;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const say = (text: string): boolean => process.stdout.write(`${text}\n`);
const shown = (value: number): string => value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 2 : 0 });

async function memoryInUse(): Promise<number> {
  // What was let go in this turn of the loop is collected in the next.
  for (let turn = 0; turn < 3; turn += 1) {
    await new Promise(setImmediate);
    collectGarbage();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function openVault(store: SparseStore, grid: number): Promise<VaultParts> {
  const vault = "ab".repeat(16);
  const cost = { memoryKiB: 64, passes: 1, lanes: 1 };
  const keys = await createKeys(store, { secret, label: "bench", cost, vault, grid, clock: systemClock }, signal);
  await writeConfig(store, vault, { clock: systemClock, signal });
  const index = new VaultIndex(store, keys);
  const ciphers = new PackCiphers(store, keys);
  const nodes = new Nodes({ store, keys, index, ciphers });
  return { store, keys, index, ciphers, nodes, clock: systemClock, tuning: { ...defaultTuning, threads: 0 } };
}

export default async function bench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      tib: { type: "string", default: "5,10,20" },
      "grid-kib": { type: "string", default: "1024" },
      "memory-mib": { type: "string", default: "256" },
      "index-only": { type: "boolean", default: false },
      millions: { type: "string", default: "1,10,100" },
    },
  });
  const sizes = values["index-only"] ? [] : values.tib.split(",").map((tib) => Number(tib) * 2 ** 40);
  for (const bytes of sizes) await collect(bytes, Number(values["grid-kib"]) << 10, Number(values["memory-mib"]) << 20);
  await indexMemory(values.millions.split(",").map(Number));
}

/** Days of `machines` VMs, of which a policy drops the oldest; then gc. */
async function collect(bytes: number, grid: number, memoryBytes: number): Promise<void> {
  await using store = new SparseStore(tmpdir());
  const parts = await openVault(store, grid);
  const puts = new SyntheticPuts(parts, signal);
  // Every day but the first changes 3 % of a disk, in runs of 8 chunks.
  const chunks = Math.floor(bytes / grid / machines / (1 + 0.03 * (days - 1)));
  let started = performance.now();
  for (let machine = 0; machine < machines; machine += 1) {
    let point: Point | undefined;
    for (let day = 0; day < days; day += 1) {
      const base = point && { base: { point, changed: Math.floor((chunks * 0.03) / 8) } };
      point = await puts.put(`vm${machine}`, chunks, ...(base ? [base.base] : []));
    }
  }
  const seconds = (): number => (performance.now() - started) / 1000;
  say(
    `a vault of ${shown(store.dataBytes / 2 ** 40)} TiB in ${shown(puts.chunks)} chunks of ${grid >> 10} KiB, made in ${shown(seconds())} s`,
  );
  const vault = await Vault.open(store, secret, { signal });
  started = performance.now();
  const list = await vault.points({ signal });
  const plan = planPrune({ list, holds: [], now: Date.now() }, { fallback: { last: 2 } });
  const { deleted } = await vault.applyPrune(plan, { signal });
  say(`prune: ${deleted.length} of ${list.points.length} points in ${shown(seconds())} s`);
  started = performance.now();
  let peak = 0;
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 200);
  let passes = 1;
  const result = await vault.gc({
    signal,
    memoryBytes,
    maxRewriteBytes: 0,
    onProgress: (progress) => {
      if (progress.step === "survey") passes = progress.passes;
    },
  });
  clearInterval(watch);
  const rate = result.items / seconds();
  const freed = result.freedBytes / 2 ** 30;
  say(
    `gc: ${shown(seconds())} s, ${shown(rate)} names/s, ${passes} passes, ${shown(result.deletedPacks)} packs of ${shown(freed)} GiB freed`,
  );
  say(`gc: peak memory ${shown(peak / 2 ** 20)} MiB (the store's own list of names included)`);
  say(`gc: a vault of 20 TiB in chunks of 64 KiB would take about ${shown((20 * 2 ** 40) / (64 << 10) / rate / 60)} min at this rate`);
}

async function indexMemory(sizes: readonly number[]): Promise<void> {
  for (const millions of sizes) {
    await using store = new SparseStore(tmpdir());
    const { keys } = await openVault(store, 64 << 10);
    const segments = Math.round((millions * 1e6) / defaultTuning.batchEntries);
    await makeHeads(store, keys, segments);
    const index = new VaultIndex(store, keys);
    const before = await memoryInUse();
    const started = performance.now();
    await index.refresh(signal);
    const took = (performance.now() - started) / 1000;
    const entries = index.segments.reduce((sum, { head }) => sum + head.entries, 0);
    const perChunk = ((await memoryInUse()) - before) / entries;
    say(`index of ${shown(entries / 1e6)} million chunks: ${shown(perChunk)} bytes each in memory, opened in ${shown(took)} s`);
  }
}

/** Segments of which only the head is there, all with the same names under different keys. */
async function makeHeads(store: SparseStore, keys: KeyRing, segments: number): Promise<void> {
  const entries = randomFillSync(new Uint8Array(defaultTuning.batchEntries * entryLength));
  const perPack = 256;
  const packs = Array.from({ length: defaultTuning.batchEntries / perPack }, () => ({
    name: objectName.pack("data", "0".repeat(20), Buffer.from(randomFillSync(new Uint8Array(16))).toString("hex")),
    tableOffset: 16_000_000,
    tableLength: 10_000,
  }));
  const view = new DataView(entries.buffer);
  for (let i = 0; i < defaultTuning.batchEntries; i += 1) view.setUint32(i * entryLength + 24, Math.floor(i / perPack), true);
  const batch = "f".repeat(20);
  const whole = encodeSegment(keys.current, batch, packs, entries);
  const length = parseSegmentPrefix(whole, "template");
  const head = new ObjectCipher(keys.current.key, whole.subarray(0, 32), objectName.index(batch)).open(
    whole.subarray(segmentPrefix, segmentPrefix + length),
    segmentPrefix,
  );
  for (let i = 0; i < segments; i += 1) {
    const name = objectName.index(i.toString(16).padStart(16, "0") + "0000");
    const object = Buffer.alloc(segmentPrefix + length);
    object.set(segmentHeader(keys.current.epoch, i));
    object.writeUInt32LE(length, 32);
    new ObjectCipher(keys.current.key, object.subarray(0, 32), name).seal([head], object, segmentPrefix);
    await store.put(name, [object]);
  }
}
