import { type NbdSource, NbdError } from "@godwit/nbd";

/** So much is read before another way is worth its start. */
const worthIt = 8 << 20;

/**
 * A source that goes over to a better way once much is read: small captures never wait for it, nor does the beginning of
 * large ones. Should the better way end, what is read goes the first way again.
 */
export class UpgradingSource implements NbdSource {
  readonly client: NbdSource["client"];
  readonly size: number;
  readonly #first: NbdSource;
  readonly #better: (signal: AbortSignal) => Promise<NbdSource | undefined>;
  readonly #closed = new AbortController();
  #going: Promise<void> | undefined;
  #second: NbdSource | undefined;
  #now: NbdSource;
  #read = 0;

  constructor(first: NbdSource, better: (signal: AbortSignal) => Promise<NbdSource | undefined>) {
    this.client = first.client;
    this.size = first.size;
    this.#first = first;
    this.#now = first;
    this.#better = better;
  }

  extents(options: { signal: AbortSignal }): ReturnType<NbdSource["extents"]> {
    return this.#first.extents(options);
  }

  changes(name: string, options: { signal: AbortSignal }): ReturnType<NbdSource["changes"]> {
    return this.#first.changes(name, options);
  }

  async read(offset: number, into: Uint8Array, options: { signal: AbortSignal }): Promise<void> {
    this.#read += into.length;
    if (this.#read > worthIt) this.#going ??= this.#upgrade();
    const by = this.#now;
    try {
      await by.read(offset, into, options);
    } catch (error) {
      options.signal.throwIfAborted();
      if (by === this.#first || !(error instanceof NbdError) || error.reason !== "closed") throw error;
      this.#now = this.#first;
      await this.#first.read(offset, into, options);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    await this.#going;
    await this.#second?.[Symbol.asyncDispose]();
    await this.#first[Symbol.asyncDispose]();
  }

  async #upgrade(): Promise<void> {
    try {
      this.#second = await this.#better(this.#closed.signal);
      if (this.#second?.size === this.size) this.#now = this.#second;
    } catch {
      // The first way is good enough.
    }
  }
}
