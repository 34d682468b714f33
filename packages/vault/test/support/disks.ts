import { BlockError, type BlockSink, type BlockSource, type Extent } from "@godwit/core";
import { type InitOptions, type Secret, Vault } from "@godwit/vault";
import { MemoryStore } from "./memory-store.ts";

export const signal: AbortSignal = new AbortController().signal;
export const secret: Secret = { kind: "passphrase", passphrase: "correct horse" };
export const cheap = { memoryKiB: 64, passes: 1, lanes: 1 };
/** Small packs and batches, so that small disks meet every boundary. */
export const tuning = { threads: 0, level: 1, packBytes: 256 << 10, recordBytes: 32 << 10, batchEntries: 64 };
export const grid = 4096;

export async function newVault(options: Partial<InitOptions> = {}): Promise<{ store: MemoryStore; vault: Vault }> {
  const store = new MemoryStore();
  return { store, vault: await Vault.init(store, { signal, secret, label: "test", cost: cheap, grid, tuning, ...options }) };
}

export async function reopen(store: MemoryStore): Promise<Vault> {
  return await Vault.open(store, secret, { signal, tuning });
}

/** Bytes that do not compress and are the same for the same seed. */
export function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let i = 0; i < length; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

export const contentSize = 60_000;

/** Few contents of few parts, so that points die, come back and share. */
export function contentOf(number: number): Uint8Array {
  const content = new Uint8Array(contentSize);
  for (let part = 0; part < 5; part += 1) content.set(noise(11_000, (number * 7 + part * number) % 4), part * 11_500);
  return content;
}

/** A disk in memory; runs of whole zero pages are reported as zero. */
export class MemoryDisk implements BlockSource, BlockSink {
  readonly content: Uint8Array;
  readBytes = 0;
  wroteBytes = 0;

  constructor(content: Uint8Array | number) {
    this.content = typeof content === "number" ? new Uint8Array(content) : content;
  }

  get size(): number {
    return this.content.length;
  }

  async *extents({ signal }: { signal: AbortSignal }): AsyncGenerator<Extent> {
    const page = 512;
    let open: { offset: number; length: number; kind: Extent["kind"] } | undefined;
    for (let offset = 0; offset < this.size; offset += page) {
      signal.throwIfAborted();
      const length = Math.min(page, this.size - offset);
      const kind = this.content.subarray(offset, offset + length).some((byte) => byte !== 0) ? "data" : "zero";
      if (open?.kind === kind) open.length += length;
      else {
        if (open) yield open;
        open = { offset, length, kind };
      }
    }
    if (open) yield open;
  }

  async read(offset: number, into: Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    if (offset + into.length > this.size) throw new BlockError("out-of-range", "read past the end");
    into.set(this.content.subarray(offset, offset + into.length));
    this.readBytes += into.length;
    await Promise.resolve();
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.content.set(data, offset);
    this.wroteBytes += data.length;
    await Promise.resolve();
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    this.content.fill(0, offset, offset + length);
    await Promise.resolve();
  }

  async flush(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}
