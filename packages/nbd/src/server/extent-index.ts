import type { BlockSource, Extent } from "@godwit/core";

/** Extents kept per export; 16 bytes each. What lies behind is reported as data, which is always true enough. */
const MAX_EXTENTS = 1 << 20;

/**
 * Random access to the extents of a source that never changes: they are pulled once, as far as somebody
 * asked, and kept.
 */
export class ExtentIndex {
  readonly #source: BlockSource;
  readonly #limit: number;
  readonly #iterator: AsyncIterator<Extent>;
  /** Where each extent ends; kinds alternate with `#zero`. */
  readonly #ends: number[] = [];
  readonly #zero: boolean[] = [];
  #pulling: Promise<void> = Promise.resolve();
  #complete = false;

  /** `signal` ends all pulling, for good. */
  constructor(source: BlockSource, options: { readonly signal: AbortSignal; readonly limit?: number }) {
    this.#source = source;
    this.#limit = options.limit ?? MAX_EXTENTS;
    this.#iterator = source.extents({ signal: options.signal })[Symbol.asyncIterator]();
  }

  async *extentsIn(offset: number, length: number, { signal }: { signal: AbortSignal }): AsyncGenerator<Extent, void, undefined> {
    const end = offset + length;
    for (let at = offset; at < end;) {
      signal.throwIfAborted();
      await this.#reach(at);
      const index = this.#find(at);
      const known = index < this.#ends.length;
      const stop = Math.min(known ? this.#ends[index]! : this.#source.size, end);
      yield { offset: at, length: stop - at, kind: known && this.#zero[index] === true ? "zero" : "data" };
      at = stop;
    }
  }

  /** Pulls until the extent that holds `offset` is known; callers take turns. */
  async #reach(offset: number): Promise<void> {
    while (!this.#complete && (this.#ends.at(-1) ?? 0) <= offset) {
      const turn = this.#pulling.then(() => this.#pull(offset));
      this.#pulling = turn.catch(() => undefined);
      await turn;
    }
  }

  async #pull(offset: number): Promise<void> {
    while (!this.#complete && (this.#ends.at(-1) ?? 0) <= offset) {
      const next = await this.#iterator.next();
      if (next.done === true || this.#ends.length >= this.#limit) {
        this.#complete = true;
        await this.#iterator.return?.();
        return;
      }
      this.#ends.push(next.value.offset + next.value.length);
      this.#zero.push(next.value.kind === "zero");
    }
  }

  #find(offset: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ends[middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
