import { type Clock, Semaphore, systemClock } from "@godwit/core";
import type { BlobInfo, BlobStore, PutOptions } from "./blob-store.ts";
import { StoreDecorator } from "./store-decorator.ts";

export interface StoreLimits {
  /** Calls at once; no limit where not given. */
  readonly calls?: number;
  /** Bytes per second into the store, on average over the size of an object; no limit where not given. */
  readonly upBytesPerSecond?: number;
  /** The same out of the store. */
  readonly downBytesPerSecond?: number;
  readonly clock?: Clock;
}

/** Keeps to a number of calls at once and to a share of the line. Who waits may give up. */
export class LimitedStore extends StoreDecorator {
  readonly #calls: Semaphore;
  readonly #up: Pacer;
  readonly #down: Pacer;

  constructor(inner: BlobStore, { calls = Infinity, upBytesPerSecond = Infinity, downBytesPerSecond = Infinity, clock }: StoreLimits) {
    super(inner);
    this.#calls = new Semaphore(calls);
    this.#up = new Pacer(upBytesPerSecond, clock ?? systemClock);
    this.#down = new Pacer(downBytesPerSecond, clock ?? systemClock);
  }

  override async put(name: string, parts: readonly Uint8Array[], options: PutOptions): Promise<"created" | "exists"> {
    using _ = await this.#calls.acquire(options);
    await this.#up.wait(options.signal);
    this.#up.charge(parts.reduce((sum, part) => sum + part.length, 0));
    return await this.inner.put(name, parts, options);
  }

  override async get(name: string, options: { readonly signal: AbortSignal; readonly maxBytes: number }): Promise<Uint8Array> {
    using _ = await this.#calls.acquire(options);
    await this.#down.wait(options.signal);
    const bytes = await this.inner.get(name, options);
    this.#down.charge(bytes.length);
    return bytes;
  }

  override async read(name: string, offset: number, into: Uint8Array, options: { readonly signal: AbortSignal }): Promise<number> {
    using _ = await this.#calls.acquire(options);
    await this.#down.wait(options.signal);
    this.#down.charge(into.length);
    return await this.inner.read(name, offset, into, options);
  }

  override async stat(name: string, options: { readonly signal: AbortSignal }): Promise<BlobInfo | undefined> {
    using _ = await this.#calls.acquire(options);
    return await this.inner.stat(name, options);
  }

  /** Holds its place only while it waits for the store, so that who lists may make other calls. */
  override async *list(
    prefix: string,
    options: { readonly signal: AbortSignal; readonly after?: string },
  ): AsyncGenerator<BlobInfo, void, undefined> {
    const infos = this.inner.list(prefix, options)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.#next(infos, options.signal);
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await infos.return?.();
    }
  }

  async #next(infos: AsyncIterator<BlobInfo>, signal: AbortSignal): Promise<IteratorResult<BlobInfo>> {
    using _ = await this.#calls.acquire({ signal });
    return await infos.next();
  }

  override async delete(name: string, options: { readonly signal: AbortSignal }): Promise<void> {
    using _ = await this.#calls.acquire(options);
    await this.inner.delete(name, options);
  }

  override async extendRetention(name: string, until: number, options: { readonly signal: AbortSignal }): Promise<void> {
    using _ = await this.#calls.acquire(options);
    await this.inner.extendRetention(name, until, options);
  }
}

/** A line of a given rate: what was charged occupies it for as long as its bytes take. */
class Pacer {
  readonly #bytesPerMs: number;
  readonly #clock: Clock;
  #freeAt = -Infinity;

  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#clock = clock;
  }

  async wait(signal: AbortSignal): Promise<void> {
    for (let ms = this.#ahead(); ms > 0; ms = this.#ahead()) await this.#clock.sleep(ms, { signal });
  }

  charge(bytes: number): void {
    this.#freeAt = Math.max(this.#freeAt, this.#clock.monotonic()) + bytes / this.#bytesPerMs;
  }

  #ahead(): number {
    return this.#freeAt - this.#clock.monotonic();
  }
}
