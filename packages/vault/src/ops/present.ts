import type { BlockSource, Extent } from "@godwit/core";

/** Where a source has data, asked for in ascending order: one pass over its extents. */
export class DataPlaces {
  readonly #extents: AsyncIterator<Extent>;
  #current: Extent | undefined;

  constructor(source: BlockSource, signal: AbortSignal) {
    this.#extents = source.extents({ signal })[Symbol.asyncIterator]();
  }

  /** The parts of [from, to) that are data. A range starts where the one before ended, or later. */
  async *within(from: number, to: number): AsyncGenerator<{ readonly from: number; readonly to: number }> {
    for (let at = from; at < to;) {
      while (!this.#current || this.#current.offset + this.#current.length <= at) {
        const next = await this.#extents.next();
        if (next.done) return;
        this.#current = next.value;
      }
      const { offset, length, kind } = this.#current;
      if (offset >= to) return;
      const end = Math.min(to, offset + length);
      if (kind === "data") yield { from: Math.max(at, offset), to: end };
      at = end;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#extents.return?.();
  }
}
