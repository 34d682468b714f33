import { toError } from "@godwit/core";
import { VaultError } from "../errors.ts";
import type { RecordPlace } from "../format/objects.ts";
import { Labour } from "./labour.ts";
import type { CarryOrder, FilePlace, LostChunk, Order, PackSource, Report, Room, WorkerSetup } from "./protocol.ts";
import { preparedThreads, takeThread } from "./threads.ts";

export interface SealedPack {
  readonly name: string;
  /** The pack's bytes: valid until the promise of the handler settles. */
  readonly bytes: Uint8Array;
  readonly tableOffset: number;
  readonly tableLength: number;
  readonly entries: Uint8Array<ArrayBuffer>;
}

export interface HashOptions {
  readonly base?: Uint8Array | undefined;
  readonly from?: FilePlace | undefined;
  readonly keep: boolean;
}

export interface HashedRun {
  readonly names: Uint8Array;
  /** False when the run equals its base: there is nothing to store, and its memory is the caller's again. */
  readonly kept: boolean;
  /** Has the flagged chunks stored; only when `kept`, and then once. The memory is the caller's again afterwards. */
  store(wanted: Uint8Array): Promise<void>;
}

export interface OpenedRecord {
  /** Part of the memory that was handed in for it, unless it did not fit. */
  readonly payload: Uint8Array;
  readonly names: Uint8Array;
  readonly lengths: Uint32Array;
}

interface Hand {
  readonly send: (order: Order, transfer?: readonly ArrayBuffer[]) => void;
  readonly stop: () => Promise<unknown>;
  readonly waiting: Map<number, { resolve: (report: Report) => void; reject: (error: Error) => void }>;
}

export interface WorkPoolOptions {
  /** Without any the work is done by the calling one: slower, and enough for little. */
  readonly threads: number;
  /**
   * The calling thread names and stores so many bytes before threads are started, unless some were prepared: a thread costs
   * more time and memory than little work is worth.
   */
  readonly aloneBytes?: number;
  /** Takes the packs that `store` fills; its rejection breaks the pool. */
  readonly onPack?: (pack: SealedPack) => Promise<void>;
}

/**
 * A few worker threads. The main thread reads and writes; they name, compress, seal and open. Calls
 * resolve in any order; after an error of a thread every call rejects with it.
 */
export class WorkPool implements AsyncDisposable {
  readonly #setup: WorkerSetup;
  /** Those that are given work. */
  #hands: Hand[];
  /** Who worked alone at first, and may still have a pack to hand over. */
  #first: Hand | undefined;
  readonly #threads: number;
  #aloneBytes: number;
  #batch: string | undefined;
  readonly #onPack: ((pack: SealedPack) => Promise<void>) | undefined;
  #next = 0;
  #broken: Error | undefined;
  #closed = false;

  constructor(setup: WorkerSetup, { threads, aloneBytes = 0, onPack }: WorkPoolOptions) {
    this.#setup = setup;
    this.#onPack = onPack;
    this.#threads = threads;
    this.#aloneBytes = preparedThreads() > 0 ? 0 : aloneBytes;
    const alone = threads === 0 || this.#aloneBytes > 0;
    this.#hands = alone ? [this.#startInline(setup)] : this.#startThreads();
  }

  get threads(): number {
    return this.#hands.length;
  }

  #startThreads(): Hand[] {
    return Array.from({ length: this.#threads }, () => this.#startThread(this.#setup));
  }

  /** Counts what is to be done, and has threads do it once it is much. */
  #count(bytes: number): void {
    if (this.#threads === 0 || this.#aloneBytes <= 0) return;
    this.#aloneBytes -= bytes;
    if (this.#aloneBytes > 0) return;
    [this.#first] = this.#hands;
    this.#hands = this.#startThreads();
    if (this.#batch !== undefined) this.begin(this.#batch);
  }

  get #all(): readonly Hand[] {
    return this.#first ? [this.#first, ...this.#hands] : this.#hands;
  }

  #startThread(setup: WorkerSetup): Hand {
    const worker = takeThread();
    const hand: Hand = {
      waiting: new Map(),
      send: (order, transfer = []) => worker.postMessage(order, transfer),
      stop: () => worker.terminate(),
    };
    worker.on("message", (report: Report) => this.#take(hand, report));
    worker.on("error", (error) => this.#break(toError(error)));
    worker.on("exit", () => this.#break(new Error("a worker thread ended")));
    worker.postMessage(setup, []);
    return hand;
  }

  #startInline(setup: WorkerSetup): Hand {
    const labour = new Labour(setup, (report) => this.#take(hand, report));
    const hand: Hand = { waiting: new Map(), send: (order) => labour.obey(order), stop: () => Promise.resolve() };
    return hand;
  }

  /**
   * Names the chunks of a run, the first `length` bytes of `memory`; with `from` they are read into it first, and what cannot
   * be read throws with Node's `code`.
   */
  async hash(memory: SharedArrayBuffer, length: number, { base, from, keep }: HashOptions): Promise<HashedRun> {
    this.#count(length);
    const hand = this.#idlest();
    const id = this.#id();
    const what = { ...(base ? { base } : {}), ...(from ? { from } : {}) };
    const report = await this.#call(hand, { type: "hash", id, memory, length, keep, ...what });
    if (report.type !== "hashed") throw new Error(`unexpected report ${report.type}`);
    return {
      names: report.names,
      kept: report.kept,
      store: async (wanted) => {
        await this.#call(hand, { type: "store", id, wanted });
      },
    };
  }

  /** Opens a record; its payload goes into `into`, which may be where its frame is. Throws `corrupt` or `missing`. */
  async open(
    { pack, offset, length }: RecordPlace,
    from: PackSource,
    into: Room,
    { check = false }: { readonly check?: boolean } = {},
  ): Promise<OpenedRecord> {
    const report = await this.#call(this.#idlest(), { type: "open", id: this.#id(), pack, from, offset, length, into, check });
    if (report.type !== "opened") throw new Error(`unexpected report ${report.type}`);
    const payload = report.payload ? new Uint8Array(report.payload) : new Uint8Array(into.memory, into.at, report.length);
    return { payload, names: report.names, lengths: report.lengths };
  }

  /**
   * Opens records of a pack and writes what is wanted of them to a file that is open here. Damage, and what cannot
   * be read, is told chunk by chunk; a write that fails throws, with Node's `code` and the `offset`.
   */
  async carry(order: Omit<CarryOrder, "type" | "id">): Promise<{ readonly writtenBytes: number; readonly lost: readonly LostChunk[] }> {
    const report = await this.#call(this.#idlest(), { type: "carry", id: this.#id(), ...order });
    if (report.type !== "carried") throw new Error(`unexpected report ${report.type}`);
    return report;
  }

  /** Reads a part of a file that is open here, and flags the chunks that do not have the names that are given. */
  async compare(fd: number, offset: number, length: number, names: Uint8Array): Promise<Uint8Array> {
    const report = await this.#call(this.#idlest(), { type: "compare", id: this.#id(), fd, offset, length, names });
    if (report.type !== "compared") throw new Error(`unexpected report ${report.type}`);
    return report.differs;
  }

  /** What is stored from now on belongs to this batch. */
  begin(batch: string): void {
    this.#batch = batch;
    for (const { send } of this.#all) send({ type: "batch", batch });
  }

  /** Resolves when every pack so far has been handed over. */
  async flush(): Promise<void> {
    await Promise.all(this.#all.map((hand) => this.#call(hand, { type: "flush", id: this.#id() })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#break(new Error("the vault's worker threads were stopped"));
    await Promise.all(this.#all.map(({ stop }) => stop()));
  }

  #id(): number {
    this.#next += 1;
    return this.#next;
  }

  #idlest(): Hand {
    return this.#hands.reduce((best, hand) => (hand.waiting.size < best.waiting.size ? hand : best));
  }

  #call(hand: Hand, order: Order & { readonly id: number }): Promise<Report> {
    if (this.#broken) return Promise.reject(this.#broken);
    const { promise, resolve, reject } = Promise.withResolvers<Report>();
    hand.waiting.set(order.id, { resolve, reject });
    hand.send(order);
    return promise;
  }

  #take(hand: Hand, report: Report): void {
    if (report.type === "pack") {
      void this.#takePack(hand, report);
      return;
    }
    const waiting = hand.waiting.get(report.id);
    hand.waiting.delete(report.id);
    if (report.type === "failed") waiting?.reject(errorOf(report));
    else waiting?.resolve(report);
  }

  async #takePack(hand: Hand, report: Extract<Report, { type: "pack" }>): Promise<void> {
    const { name, buffer, length, tableOffset, tableLength, entries } = report;
    try {
      await this.#onPack?.({ name, bytes: new Uint8Array(buffer, 0, length), tableOffset, tableLength, entries });
      if (!this.#closed) hand.send({ type: "spare", buffer }, [buffer]);
    } catch (error) {
      this.#break(toError(error));
    }
  }

  #break(error: Error): void {
    this.#broken ??= error;
    for (const { waiting } of this.#all) {
      for (const { reject } of waiting.values()) reject(this.#broken);
      waiting.clear();
    }
  }
}

function errorOf({ kind, message, code, offset }: Extract<Report, { type: "failed" }>): Error {
  if (kind !== "") return new VaultError(kind, message);
  return Object.assign(new Error(message), code === undefined ? {} : { code }, offset === undefined ? {} : { offset });
}
