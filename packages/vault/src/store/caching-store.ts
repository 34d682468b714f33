import { abortReason, raceAbort } from "@godwit/core";
import type { BlobStore } from "./blob-store.ts";
import { StoreDecorator } from "./store-decorator.ts";

export interface CacheOptions {
  /** What the cache may hold, bytes. */
  readonly maxBytes: number;
  /** Objects are read and kept in aligned blocks of so many bytes; 256 KiB where not given. */
  readonly blockBytes?: number;
  /** Which objects are kept; all where not given. */
  readonly keeps?: (name: string) => boolean;
}

interface Block {
  readonly bytes: Uint8Array;
}

/** Whoever fetched a block was cancelled. */
class GaveUp extends Error {}

/**
 * Keeps in memory what `read` read last, with its surroundings: for many small reads of a store that is far
 * away. Objects never change, so that nothing can be stale but their absence: what another machine deleted
 * may still be read. Not for verification, which asks what the store holds now.
 */
export class CachingStore extends StoreDecorator {
  readonly #maxBytes: number;
  readonly #blockBytes: number;
  readonly #keeps: (name: string) => boolean;
  /** By name and number; the ones used last at the end. */
  readonly #blocks = new Map<string, Block>();
  /** Under way, by the same keys. */
  readonly #fetching = new Map<string, Promise<Block>>();
  #bytes = 0;
  /** Deletions so far, by which a read knows that what it read may be gone. */
  #deletions = 0;

  constructor(inner: BlobStore, { maxBytes, blockBytes = 256 << 10, keeps = () => true }: CacheOptions) {
    super(inner);
    this.#maxBytes = maxBytes;
    this.#blockBytes = blockBytes;
    this.#keeps = keeps;
  }

  get cachedBytes(): number {
    return this.#bytes;
  }

  override async read(name: string, offset: number, into: Uint8Array, options: { readonly signal: AbortSignal }): Promise<number> {
    options.signal.throwIfAborted();
    const first = Math.floor(offset / this.#blockBytes);
    const last = Math.floor((offset + into.length - 1) / this.#blockBytes);
    const size = (last - first + 1) * this.#blockBytes;
    if (into.length === 0 || !this.#keeps(name) || size > this.#maxBytes / 4) return await this.inner.read(name, offset, into, options);
    let done = 0;
    for (const [i, { bytes }] of (await this.#all(name, first, last, options.signal)).entries()) {
      const part = bytes.subarray(offset + done - (first + i) * this.#blockBytes).subarray(0, into.length - done);
      into.set(part, done);
      done += part.length;
    }
    return done;
  }

  override async delete(name: string, options: { readonly signal: AbortSignal }): Promise<void> {
    try {
      await this.inner.delete(name, options);
    } finally {
      this.#deletions += 1;
      this.#fetching.clear();
      for (const key of this.#blocks.keys()) if (key.startsWith(`${name}#`)) this.#drop(key);
    }
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#blocks.clear();
    this.#bytes = 0;
    await super[Symbol.asyncDispose]();
  }

  /** The blocks of a range, as far as the object goes: kept ones, ones that somebody is fetching, and the rest in runs. */
  async #all(name: string, first: number, last: number, signal: AbortSignal): Promise<Block[]> {
    for (;;) {
      const getting: Promise<Block>[] = [];
      for (let number = first; number <= last; number += 1) {
        const key = `${name}#${number}`;
        const block = this.#touch(key);
        if (block && block.bytes.length < this.#blockBytes) {
          getting.push(Promise.resolve(block));
          break;
        }
        if (!block && !this.#fetching.has(key)) this.#fetch(name, number, this.#missingFrom(name, number, last), signal);
        getting.push(block ? Promise.resolve(block) : this.#fetching.get(key)!);
      }
      try {
        return await raceAbort(Promise.all(getting), signal);
      } catch (error) {
        // Who fetched for us gave up, and we did not.
        if (!(error instanceof GaveUp) || signal.aborted) throw signal.aborted ? abortReason(signal) : error;
      }
    }
  }

  #touch(key: string): Block | undefined {
    const block = this.#blocks.get(key);
    if (block) {
      this.#blocks.delete(key);
      this.#blocks.set(key, block);
    }
    return block;
  }

  /** How many blocks in a row nobody has or fetches. */
  #missingFrom(name: string, first: number, last: number): number {
    let number = first;
    while (number <= last && !this.#blocks.has(`${name}#${number}`) && !this.#fetching.has(`${name}#${number}`)) number += 1;
    return number - first;
  }

  /** Fetches blocks in a row with one call, for all who ask meanwhile. */
  #fetch(name: string, first: number, count: number, signal: AbortSignal): void {
    const deletions = this.#deletions;
    const fetched = new Uint8Array(count * this.#blockBytes);
    const reading = this.inner.read(name, first * this.#blockBytes, fetched, { signal }).then(
      (got) => {
        const bytes = fetched.subarray(0, got);
        if (deletions === this.#deletions) this.#keep(name, first, bytes, count);
        return bytes;
      },
      (error: unknown) => {
        throw signal.aborted ? new GaveUp() : error;
      },
    );
    for (let i = 0; i < count; i += 1) {
      const key = `${name}#${first + i}`;
      const block = reading.then((bytes) => ({ bytes: bytes.subarray(i * this.#blockBytes, (i + 1) * this.#blockBytes) }));
      this.#fetching.set(key, block);
      const gone = (): boolean => this.#fetching.get(key) === block && this.#fetching.delete(key);
      block.then(gone, gone);
    }
  }

  #keep(name: string, first: number, bytes: Uint8Array, blocks: number): void {
    for (let i = 0; i < blocks; i += 1) {
      const key = `${name}#${first + i}`;
      this.#drop(key);
      // A copy, lest a small block keep the memory of its neighbours.
      const block = bytes.slice(i * this.#blockBytes, (i + 1) * this.#blockBytes);
      this.#blocks.set(key, { bytes: block });
      this.#bytes += block.length;
      if (block.length < this.#blockBytes) break;
    }
    for (const key of this.#blocks.keys()) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#drop(key);
    }
  }

  #drop(key: string): void {
    const block = this.#blocks.get(key);
    if (!block) return;
    this.#blocks.delete(key);
    this.#bytes -= block.bytes.length;
  }
}
