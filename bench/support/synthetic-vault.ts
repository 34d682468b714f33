import { createHash, randomBytes, randomFillSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { open, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type BlobInfo, type BlobStore, type Point, StoreError } from "@godwit/vault";
import { encodeHeader, headerLength } from "../../packages/vault/src/format/envelope.ts";
import { hex, nameLength, zeroName } from "../../packages/vault/src/format/names.ts";
import { levelsFor } from "../../packages/vault/src/format/node.ts";
import { objectName } from "../../packages/vault/src/format/objects.ts";
import { packEntryLength } from "../../packages/vault/src/format/pack.ts";
import { pointToJson } from "../../packages/vault/src/format/point.ts";
import { WriteSession } from "../../packages/vault/src/ops/session.ts";
import type { VaultParts } from "../../packages/vault/src/parts.ts";
import { TreeEditor } from "../../packages/vault/src/tree/editor.ts";

/**
 * A store of which everything is real but the content of data packs: of those it keeps names and sizes.
 * What it holds besides lies in files of a directory of its own, without fsync.
 */
export class SparseStore implements BlobStore {
  readonly location = "synthetic";
  readonly enforcesRetention = false;
  readonly #root: string;
  readonly #sizes = new Map<string, number>();
  /** By the first segment of the name. */
  readonly #sorted = new Map<string, string[]>();
  readonly #kinds = new Map<string, Set<string>>();
  dataBytes = 0;
  deleted = 0;

  constructor(folder: string) {
    this.#root = mkdtempSync(join(folder, "godwit-vault-gc-"));
  }

  async put(name: string, parts: readonly Uint8Array[]): Promise<"created" | "exists"> {
    if (this.#sizes.has(name)) return "exists";
    const bytes = Buffer.concat(parts);
    const isData = name.startsWith("data/");
    this.#sizes.set(name, isData ? bytes.readUInt32LE(0) : bytes.length);
    const kind = kindOf(name);
    this.#sorted.delete(kind);
    this.#kinds.set(kind, (this.#kinds.get(kind) ?? new Set()).add(name));
    if (isData) this.dataBytes += this.#sizes.get(name)!;
    else {
      mkdirSync(dirname(join(this.#root, name)), { recursive: true });
      await writeFile(join(this.#root, name), bytes);
    }
    return "created";
  }

  async get(name: string): Promise<Uint8Array> {
    const bytes = new Uint8Array(this.#sizeOf(name));
    await this.read(name, 0, bytes);
    return bytes;
  }

  async read(name: string, offset: number, into: Uint8Array): Promise<number> {
    this.#sizeOf(name);
    await using file = await open(join(this.#root, name));
    return (await file.read(into, 0, into.length, offset)).bytesRead;
  }

  stat(name: string): Promise<BlobInfo | undefined> {
    const size = this.#sizes.get(name);
    return Promise.resolve(size === undefined ? undefined : { name, size, modified: Date.now() });
  }

  async *list(prefix: string, { after }: { readonly after?: string }): AsyncGenerator<BlobInfo> {
    const kind = kindOf(prefix);
    const names = this.#sorted.get(kind) ?? [...(kind === "" ? this.#sizes.keys() : (this.#kinds.get(kind) ?? []))].sort();
    if (kind !== "") this.#sorted.set(kind, names);
    const from = after ?? prefix;
    let [low, high] = [0, names.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (names[middle]! <= from) low = middle + 1;
      else high = middle;
    }
    for (const name of names.slice(low)) {
      if (!name.startsWith(prefix)) break;
      const size = this.#sizes.get(name);
      if (size !== undefined) yield { name, size, modified: 0 };
    }
  }

  async delete(name: string): Promise<void> {
    const size = this.#sizes.get(name);
    if (size === undefined) return;
    this.#sizes.delete(name);
    this.#kinds.get(kindOf(name))?.delete(name);
    this.deleted += 1;
    if (name.startsWith("data/")) this.dataBytes -= size;
    else await rm(join(this.#root, name));
  }

  extendRetention(): Promise<void> {
    return Promise.reject(new StoreError("unsupported", "it retains nothing"));
  }

  [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#root, { recursive: true });
    return Promise.resolve();
  }

  #sizeOf(name: string): number {
    const size = this.#sizes.get(name);
    if (size === undefined) throw new StoreError("not-found", `no object ${name}`);
    return size;
  }
}

const kindOf = (name: string): string => name.split("/")[0] ?? "";

/** Puts points whose chunks have random names: no content is read, compressed or kept. */
export class SyntheticPuts {
  readonly #parts: VaultParts;
  readonly #signal: AbortSignal;
  #time = Date.parse("2026-01-01T00:00:00Z");
  chunks = 0;

  constructor(parts: VaultParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  /** A point of one disk of `chunks` chunks, of which `changed` runs of 8 chunks are new since `base`, or all. */
  async put(name: string, chunks: number, base?: { readonly point: Point; readonly changed: number }): Promise<Point> {
    const { keys, nodes, index } = this.#parts;
    const session = new WriteSession(this.#parts, this.#signal);
    await session.start("");
    const levels = levelsFor(chunks);
    const root = base ? Buffer.from(base.point.disks[0]!.root, "hex") : zeroName;
    const editor = new TreeEditor({ nodes, namer: session.namer, levels, root, emit: session.emitNode });
    const spread = base && Math.floor(chunks / base.changed);
    const runs = base ? Array.from({ length: base.changed }, (_, i) => i * spread! + (i % Math.max(1, spread! - 8))) : undefined;
    for (const { first, count } of runs ? runs.map((run) => ({ first: run, count: 8 })) : wholes(chunks, this.#perPack)) {
      const names = randomFillSync(new Uint8Array(Math.min(count, chunks - first) * nameLength));
      await this.#store(session, names);
      await editor.set(first, names, this.#signal);
      if (session.full) await session.closeBatch();
    }
    const rootName = await editor.finish();
    await this.#flush(session);
    await session.closeBatch();
    this.#time += 24 * 3600 * 1000;
    const disk = { name: "vda", size: chunks * keys.grid, logicalSector: 512, physicalSector: 4096, levels, root: hex(rootName) };
    const point: Point = {
      id: hex(session.point),
      name,
      time: new Date(this.#time).toISOString(),
      grid: keys.grid,
      consistency: { level: "crash", evidence: [] },
      disks: [disk],
      reasons: [],
      figures: {},
    };
    await session.commit(keys.sealJson("PONT", objectName.point(point.id), pointToJson(point), session.point));
    await session.end();
    index.forgetNearby();
    return point;
  }

  get #perPack(): number {
    return (16 << 20) / this.#parts.keys.grid;
  }

  #waiting: Uint8Array[] = [];
  #count = 0;

  async #store(session: WriteSession, names: Uint8Array): Promise<void> {
    this.#waiting.push(names);
    this.#count += names.length / nameLength;
    this.chunks += names.length / nameLength;
    if (this.#count >= this.#perPack) await this.#flush(session);
  }

  /** A pack in name: chunks of incompressible data at their places, with a table that is told, not written. */
  async #flush(session: WriteSession): Promise<void> {
    if (this.#count === 0) return;
    const names = Buffer.concat(this.#waiting);
    const entries = new Uint8Array((names.length / nameLength) * packEntryLength);
    const view = new DataView(entries.buffer);
    const { grid } = this.#parts.keys;
    for (let i = 0; i < names.length / nameLength; i += 1) {
      entries.set(names.subarray(i * nameLength, (i + 1) * nameLength), i * packEntryLength);
      view.setUint32(i * packEntryLength + nameLength, headerLength + i * grid, true);
      view.setUint32(i * packEntryLength + nameLength + 4, grid, true);
    }
    const tableOffset = headerLength + (names.length / nameLength) * grid;
    const tableLength = 24 + (names.length / nameLength) * 40;
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(tableOffset + tableLength + 16);
    const name = objectName.pack("data", session.batch, hex(randomBytes(16)));
    await session.takePack({ name, bytes, tableOffset, tableLength, entries });
    [this.#waiting, this.#count] = [[], 0];
  }
}

function* wholes(chunks: number, count: number): Generator<{ first: number; count: number }> {
  for (let first = 0; first < chunks; first += count) yield { first, count };
}

/** An object's head is all that a segment keeps in memory: its blocks, which nobody reads here, are not made. */
export function segmentHeader(epoch: number, seed: number): Uint8Array {
  return encodeHeader({ kind: "INDX", epoch, salt: createHash("sha256").update(String(seed)).digest().subarray(0, 16) });
}
