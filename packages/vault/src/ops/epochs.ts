import { headerLength, isVoid } from "../format/envelope.ts";
import type { VaultParts } from "../parts.ts";
import { isNotFound } from "../store/blob-store.ts";

/** The epoch that a sealed object's header names; undefined for one that is gone, void or no such object. */
export async function epochOf({ store }: Pick<VaultParts, "store">, object: string, signal: AbortSignal): Promise<number | undefined> {
  const header = Buffer.alloc(headerLength);
  try {
    const got = await store.read(object, 0, header, { signal });
    if (got < headerLength || header.toString("latin1", 0, 4) !== "GWVT" || isVoid(header)) return undefined;
    return header.readUInt32LE(12);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Epochs of packs, one look per batch: a batch is sealed with one key. */
export class PackEpochs {
  readonly #parts: VaultParts;
  readonly #signal: AbortSignal;
  readonly #known = new Map<string, Promise<number | undefined>>();

  constructor(parts: VaultParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  async of(pack: string): Promise<number | undefined> {
    const batch = pack.split("/")[1] ?? "";
    let epoch = this.#known.get(batch);
    if (!epoch) {
      epoch = epochOf(this.#parts, pack, this.#signal);
      this.#known.set(batch, epoch);
    }
    return await epoch;
  }
}
