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
    if (!this.#has(name, first, last)) return await this.#fetch(name, first, size, { offset, into, signal: options.signal });
    let done = 0;
    for (let number = first; number <= last; number += 1) {
      const { bytes } = this.#touch(name, number);
      const part = bytes.subarray(offset + done - number * this.#blockBytes).subarray(0, into.length - done);
      into.set(part, done);
      done += part.length;
      if (bytes.length < this.#blockBytes) break;
    }
    return done;
  }

  override async delete(name: string, options: { readonly signal: AbortSignal }): Promise<void> {
    try {
      await this.inner.delete(name, options);
    } finally {
      this.#deletions += 1;
      for (const key of this.#blocks.keys()) if (key.startsWith(`${name}#`)) this.#drop(key);
    }
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#blocks.clear();
    this.#bytes = 0;
    await super[Symbol.asyncDispose]();
  }

  /** True when the blocks are there that hold the range, as far as the object goes. */
  #has(name: string, first: number, last: number): boolean {
    for (let number = first; number <= last; number += 1) {
      const block = this.#blocks.get(`${name}#${number}`);
      if (!block) return false;
      if (block.bytes.length < this.#blockBytes) return true;
    }
    return true;
  }

  #touch(name: string, number: number): Block {
    const key = `${name}#${number}`;
    const block = this.#blocks.get(key)!;
    this.#blocks.delete(key);
    this.#blocks.set(key, block);
    return block;
  }

  async #fetch(
    name: string,
    first: number,
    size: number,
    { offset, into, signal }: { readonly offset: number; readonly into: Uint8Array; readonly signal: AbortSignal },
  ): Promise<number> {
    const deletions = this.#deletions;
    const start = first * this.#blockBytes;
    const fetched = new Uint8Array(size);
    const got = fetched.subarray(0, await this.inner.read(name, start, fetched, { signal }));
    const part = got.subarray(offset - start, offset - start + into.length);
    into.set(part);
    if (deletions === this.#deletions) this.#keep(name, first, got, size / this.#blockBytes);
    return part.length;
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
