import { setTimeout as sleep } from "node:timers/promises";
import type { BlobInfo, BlobStore, PutOptions } from "@godwit/vault";
import { StoreDecorator } from "../../src/store/store-decorator.ts";

const pageSize = 1000;

/** A store that is far away: every call, and every thousand objects of a listing, take so many ms longer. */
export class SlowStore extends StoreDecorator {
  calls = 0;
  mostAtOnce = 0;
  readonly #ms: number;
  #atOnce = 0;

  constructor(inner: BlobStore, ms: number) {
    super(inner);
    this.#ms = ms;
  }

  override put(name: string, parts: readonly Uint8Array[], options: PutOptions): Promise<"created" | "exists"> {
    return this.#far(options.signal, () => this.inner.put(name, parts, options));
  }

  override get(name: string, options: { readonly signal: AbortSignal; readonly maxBytes: number }): Promise<Uint8Array> {
    return this.#far(options.signal, () => this.inner.get(name, options));
  }

  override read(name: string, offset: number, into: Uint8Array, options: { readonly signal: AbortSignal }): Promise<number> {
    return this.#far(options.signal, () => this.inner.read(name, offset, into, options));
  }

  override stat(name: string, options: { readonly signal: AbortSignal }): Promise<BlobInfo | undefined> {
    return this.#far(options.signal, () => this.inner.stat(name, options));
  }

  override async *list(
    prefix: string,
    options: { readonly signal: AbortSignal; readonly after?: string },
  ): AsyncGenerator<BlobInfo, void, undefined> {
    let count = 0;
    await this.#far(options.signal, () => Promise.resolve());
    for await (const info of this.inner.list(prefix, options)) {
      yield info;
      if (++count % pageSize === 0) await this.#far(options.signal, () => Promise.resolve());
    }
  }

  override delete(name: string, options: { readonly signal: AbortSignal }): Promise<void> {
    return this.#far(options.signal, () => this.inner.delete(name, options));
  }

  async #far<T>(signal: AbortSignal, body: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    this.calls += 1;
    this.#atOnce += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#atOnce);
    try {
      await sleep(this.#ms, undefined, { signal }).catch((error: unknown) => {
        throw signal.aborted ? signal.reason : error;
      });
      return await body();
    } finally {
      this.#atOnce -= 1;
    }
  }
}
