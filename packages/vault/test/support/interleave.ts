import { type BlobInfo, type BlobStore, type BlobPutOptions, StoreError } from "@godwit/vault";
import type { MemoryStore } from "./memory-store.ts";

export const deadMachine = "this machine is dead";

interface Waiting {
  readonly actor: Actor;
  readonly go: () => void;
}

/**
 * Runs actors that share a store, one store operation at a time, in an order that `choose` decides: every
 * read, write, list and delete is a point at which another actor may go on. The same choices give the same run.
 */
export class Interleaver {
  readonly store: MemoryStore;
  readonly #choose: (waiting: readonly number[]) => number;
  #actors = 0;
  readonly #waiting: Waiting[] = [];
  #running = 0;

  /** `choose` is given the numbers of the actors that wait, one per operation, and says which of these goes on. */
  constructor(store: MemoryStore, choose: (waiting: readonly number[]) => number) {
    this.store = store;
    this.#choose = choose;
  }

  actor(): Actor {
    this.#actors += 1;
    return new Actor(this, this.#actors - 1);
  }

  /** Resolves when all work has settled, however that went. */
  async run(works: readonly (() => Promise<unknown>)[]): Promise<void> {
    this.#running = works.length;
    const settled = works.map(async (work) => {
      await work().catch(() => undefined);
      this.#running -= 1;
    });
    for (;;) {
      // Whoever went on does so until it waits again: nothing here takes longer than a turn of the loop.
      await new Promise(setImmediate);
      if (this.#waiting.length > 0) this.#next().go();
      else if (this.#running === 0) break;
    }
    await Promise.all(settled);
  }

  #next(): Waiting {
    const chosen = this.#choose(this.#waiting.map(({ actor }) => actor.number));
    return this.#waiting.splice(chosen, 1)[0]!;
  }

  /** Resolves when the scheduler says so. */
  async turn(actor: Actor): Promise<void> {
    await new Promise<void>((resolve) => void this.#waiting.push({ actor, go: resolve }));
  }
}

/** One machine's view of the store. It can be killed, or paused for as long as its turn does not come. */
export class Actor implements BlobStore {
  readonly location = "memory";
  readonly enforcesRetention = false;
  /** Writes after which it is dead. */
  diesAfter = Infinity;
  readonly number: number;
  readonly #interleaver: Interleaver;

  constructor(interleaver: Interleaver, number: number) {
    this.number = number;
    this.#interleaver = interleaver;
  }

  async put(name: string, parts: readonly Uint8Array[], options: BlobPutOptions): Promise<"created" | "exists"> {
    await this.#turn(1);
    return await this.#interleaver.store.put(name, parts, options);
  }

  async get(name: string, options: { signal: AbortSignal; maxBytes: number }): Promise<Uint8Array> {
    await this.#turn(0);
    return await this.#interleaver.store.get(name, options);
  }

  async read(name: string, offset: number, into: Uint8Array, options: { signal: AbortSignal }): Promise<number> {
    await this.#turn(0);
    return await this.#interleaver.store.read(name, offset, into, options);
  }

  async stat(name: string, options: { signal: AbortSignal }): Promise<BlobInfo | undefined> {
    await this.#turn(0);
    return await this.#interleaver.store.stat(name, options);
  }

  async *list(prefix: string, options: { signal: AbortSignal; after?: string }): AsyncGenerator<BlobInfo> {
    await this.#turn(0);
    for await (const info of this.#interleaver.store.list(prefix, options)) {
      yield info;
      await this.#turn(0);
    }
  }

  async delete(name: string, options: { signal: AbortSignal }): Promise<void> {
    await this.#turn(1);
    await this.#interleaver.store.delete(name, options);
  }

  async extendRetention(name: string, until: number, options: { signal: AbortSignal }): Promise<void> {
    await this.#turn(1);
    await this.#interleaver.store.extendRetention(name, until, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #turn(writes: number): Promise<void> {
    await this.#interleaver.turn(this);
    if (this.diesAfter <= 0) throw new StoreError("failed", deadMachine);
    this.diesAfter -= writes;
  }
}
