/**
 * A capture and a restore through a store that is far away, beside the same through one that is not: whether
 * the line is full or waited for. Every call on the far store takes 50 ms longer, and the data cannot be
 * compressed, so that all of it crosses the line. Each is a process of its own, for its peak of memory; the
 * store is a directory in memory.
 *
 *   npm run bench -- store-latency [--mib 512] [--rounds 3] [--ms 50] [--mbit N]
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import type { BlockSink, BlockSource, Extent } from "@godwit/core";
import { LimitedStore, LocalStore, Vault } from "@godwit/vault";
import { SlowStore } from "../packages/vault/test/support/slow-store.ts";
import { median } from "./report.ts";

const { signal } = new AbortController();
const execute = promisify(execFile);
const page = 4096;
const secret = { kind: "passphrase", passphrase: "bench" } as const;

/** Noise, different in every page, made faster than it can be stored. */
class NoiseDisk implements BlockSource {
  readonly size: number;
  readonly #seed: number;
  readonly #noise = new Uint8Array(1 << 20);

  constructor(size: number, seed: number) {
    this.size = size;
    this.#seed = seed;
    for (let at = 0; at < this.#noise.length; at += 65_536) crypto.getRandomValues(this.#noise.subarray(at, at + 65_536));
  }

  async *extents(): AsyncGenerator<Extent> {
    yield { offset: 0, length: this.size, kind: "data" };
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    const view = new DataView(into.buffer, into.byteOffset, into.length);
    for (let done = 0; done < into.length; done += page) {
      const at = offset + done;
      into.set(this.#noise.subarray(at % this.#noise.length, (at % this.#noise.length) + Math.min(page, into.length - done)), done);
      view.setUint32(done, Math.floor(at / page));
      view.setUint32(done + 4, this.#seed);
    }
    await Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** Where a restore goes that shall not wait for a disk. */
class Nowhere implements BlockSink {
  readonly size: number;
  written = 0;

  constructor(size: number) {
    this.size = size;
  }

  async write(_offset: number, data: Uint8Array): Promise<void> {
    this.written += data.length;
    await Promise.resolve();
  }

  async writeZeroes(): Promise<void> {}

  async flush(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

const steps = ["put", "increment", "restore"] as const;
type Step = (typeof steps)[number];

interface Figures {
  readonly seconds: number;
  readonly peakMiB: number;
}

interface Settings {
  readonly path: string;
  readonly size: number;
  readonly ms: number;
  readonly bytesPerSecond: number;
}

/** A full put, a put of 1 % in scattered places, or a restore, by a client that knows nothing yet. */
async function run(step: Step, { path, size, ms, bytesPerSecond }: Settings): Promise<Figures> {
  const local = await LocalStore.open(path, { signal });
  const line = new LimitedStore(local, { upBytesPerSecond: bytesPerSecond, downBytesPerSecond: bytesPerSecond });
  await using store = ms === 0 ? line : new SlowStore(line, ms);
  const disk = (seed: number): { name: string; source: BlockSource } => ({ name: "vda", source: new NoiseDisk(size, seed) });
  const began = performance.now();
  const vault = await Vault.open(store, secret, { signal });
  if (step === "put") {
    await vault.put({ name: "vm", disks: [disk(1)] }, { signal });
  } else {
    const base = await vault.point("vm@latest", { signal });
    if (step === "increment") {
      const every = 6_400 << 10;
      const changed = Array.from({ length: Math.floor(size / every) }, (_, i) => ({
        offset: i * every,
        length: 65_536,
        kind: "data" as const,
      }));
      await vault.put({ name: "vm", disks: [{ ...disk(2), changed }], base }, { signal });
    } else {
      const target = new Nowhere(size);
      await vault.restore(base, "vda", target, { signal, blank: true });
      if (target.written !== size) throw new Error(`restored ${target.written} of ${size} bytes`);
    }
  }
  return { seconds: (performance.now() - began) / 1000, peakMiB: process.resourceUsage().maxRSS / 1024 };
}

/** The three steps on a new vault, each in a process of its own. */
async function pass(settings: Omit<Settings, "path">): Promise<Record<Step, Figures>> {
  const path = await mkdtemp("/dev/shm/godwit-bench-");
  try {
    await using store = await LocalStore.open(path, { signal });
    await Vault.init(store, { signal, secret, label: "bench", cost: { memoryKiB: 64, passes: 1, lanes: 1 } });
    const figures: Partial<Record<Step, Figures>> = {};
    for (const step of steps) {
      const args = [...process.execArgv, join(import.meta.dirname, "main.ts"), "store-latency"];
      const told = JSON.stringify({ ...settings, path });
      const { stdout } = await execute(process.execPath, [...args, "--step", step, "--settings", told], { timeout: 600_000 });
      figures[step] = JSON.parse(stdout) as Figures;
    }
    return figures as Record<Step, Figures>;
  } finally {
    await rm(path, { recursive: true });
  }
}

export default async function storeLatency(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      mib: { type: "string", default: "512" },
      rounds: { type: "string", default: "3" },
      ms: { type: "string", default: "50" },
      mbit: { type: "string", default: "1000000" },
      step: { type: "string" },
      settings: { type: "string" },
    },
  });
  if (values.settings !== undefined) {
    process.stdout.write(JSON.stringify(await run(values.step as Step, JSON.parse(values.settings) as Settings)));
    return;
  }
  const size = Number(values.mib) << 20;
  const bytesPerSecond = (Number(values.mbit) * 1e6) / 8;
  const near: Record<Step, Figures>[] = [];
  const far: Record<Step, Figures>[] = [];
  for (let round = 0; round < Number(values.rounds); round += 1) {
    near.push(await pass({ size, bytesPerSecond, ms: 0 }));
    far.push(await pass({ size, bytesPerSecond, ms: Number(values.ms) }));
  }
  for (const step of steps) {
    const [a, b] = [near, far].map((runs) => median(runs.map((one) => one[step].seconds))) as [number, number];
    const [m, n] = [near, far].map((runs) => Math.max(...runs.map((one) => one[step].peakMiB))) as [number, number];
    const rate = (s: number): string => (step === "increment" ? "" : ` (${(size / 1e6 / s).toFixed(0)} MB/s)`);
    process.stdout.write(
      `${step}: near ${a.toFixed(2)} s${rate(a)}, ${values.ms} ms away ${b.toFixed(2)} s${rate(b)}, ratio ${(b / a).toFixed(2)}; ` +
        `peak memory ${m.toFixed(0)} and ${n.toFixed(0)} MiB\n`,
    );
  }
}
