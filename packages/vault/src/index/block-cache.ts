/** Least recently used buffers, up to a number of bytes. */
export class BlockCache {
  readonly #limit: number;
  readonly #blocks = new Map<string, Buffer>();
  #bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get(key: string): Buffer | undefined {
    const block = this.#blocks.get(key);
    if (!block) return undefined;
    this.#blocks.delete(key);
    this.#blocks.set(key, block);
    return block;
  }

  set(key: string, block: Buffer): void {
    this.delete(key);
    this.#blocks.set(key, block);
    this.#bytes += block.length;
    for (const oldest of this.#blocks.keys()) {
      if (this.#bytes <= this.#limit) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const block = this.#blocks.get(key);
    if (block) this.#bytes -= block.length;
    this.#blocks.delete(key);
  }

  clear(): void {
    this.#blocks.clear();
    this.#bytes = 0;
  }
}
