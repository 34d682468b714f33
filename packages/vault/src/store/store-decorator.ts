import type { BlobInfo, BlobStore, PutOptions } from "./blob-store.ts";

type Cancel = { readonly signal: AbortSignal };

/** A store that hands every call on to another, which it owns. Decorators override what they change. */
export class StoreDecorator implements BlobStore {
  protected readonly inner: BlobStore;

  constructor(inner: BlobStore) {
    this.inner = inner;
  }

  get location(): string {
    return this.inner.location;
  }

  get enforcesRetention(): boolean {
    return this.inner.enforcesRetention;
  }

  put(name: string, parts: readonly Uint8Array[], options: PutOptions): Promise<"created" | "exists"> {
    return this.inner.put(name, parts, options);
  }

  get(name: string, options: Cancel & { readonly maxBytes: number }): Promise<Uint8Array> {
    return this.inner.get(name, options);
  }

  read(name: string, offset: number, into: Uint8Array, options: Cancel): Promise<number> {
    return this.inner.read(name, offset, into, options);
  }

  stat(name: string, options: Cancel): Promise<BlobInfo | undefined> {
    return this.inner.stat(name, options);
  }

  list(prefix: string, options: Cancel & { readonly after?: string }): AsyncIterable<BlobInfo> {
    return this.inner.list(prefix, options);
  }

  delete(name: string, options: Cancel): Promise<void> {
    return this.inner.delete(name, options);
  }

  extendRetention(name: string, until: number, options: Cancel): Promise<void> {
    return this.inner.extendRetention(name, until, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.inner[Symbol.asyncDispose]();
  }
}
