import { anySignal } from "@godwit/core";
import { malformed, NbdError, usage } from "../error.ts";
import { COMMAND_FLAG, type CommandName, CONTEXT_ALLOCATION, type ReplyMode } from "../protocol/constants.ts";
import { RangeLock } from "../range-lock.ts";
import type { NbdTlsOptions } from "../tls.ts";
import { type NbdTarget, parseNbdUri } from "../uri.ts";
import type { NbdExportInfo } from "./handshake.ts";
import { NbdPool } from "./pool.ts";
import { alignStatuses, RunJoiner, StatusCursor, type StatusExtent, type StatusRun } from "./status.ts";
import type { StatusChunks } from "./transaction.ts";

export interface NbdConnectOptions {
  readonly signal?: AbortSignal | undefined;
  /** TLS is used if this is given or the URI asks for it; then the connection never goes on without it. */
  readonly tls?: NbdTlsOptions | undefined;
  /** How many connections to use if the server allows several. Default: 1. */
  readonly connections?: number;
  /** Metadata contexts to ask for. Default: `base:allocation`. */
  readonly contexts?: readonly string[];
  /** The best reply framing to ask for. Default: `extended`. */
  readonly replies?: ReplyMode;
  /** Larger reads and writes are split into requests of this many bytes. Default: 1 MiB, at most what the server takes. */
  readonly requestSize?: number;
}

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface WriteOptions extends RequestOptions {
  /** Durable when the promise resolves (falls back to a flush). */
  readonly fua?: boolean;
}

export interface WriteZeroesOptions extends WriteOptions {
  /** Keep the range allocated. */
  readonly noHole?: boolean;
  /** Fail with ENOTSUP rather than write zeros one by one. */
  readonly fastZero?: boolean;
}

/** Lengths without a payload: the largest multiple of any minimum block size that 32 bits hold. */
const MAX_COMPACT_LENGTH = 0xffff_0000;

/** Connects to an export, given by URI or target. */
export async function connectNbd(target: NbdTarget | string, options: NbdConnectOptions = {}): Promise<NbdClient> {
  const parsed = typeof target === "string" ? parseNbdUri(target) : target;
  const { signal, tls, connections = 1, contexts = [CONTEXT_ALLOCATION], replies = "extended" } = options;
  const pool = await NbdPool.open({ target: parsed, signal, tls, contexts, replies }, connections);
  return new NbdClient(pool, options.requestSize ?? 1 << 20);
}

/**
 * An export of an NBD server. All requests may run at the same time; a request that the server refuses fails
 * alone, a broken connection fails its requests with the cause. Buffers belong to the client until the
 * promise settles: do not transfer them to another thread before.
 */
export class NbdClient implements AsyncDisposable {
  readonly info: NbdExportInfo;
  readonly #pool: NbdPool;
  readonly #requestSize: number;
  readonly #edges = new RangeLock();

  constructor(pool: NbdPool, requestSize: number) {
    this.#pool = pool;
    this.info = pool.info;
    const { minimum, maximum } = pool.info.blockSize;
    this.#requestSize = Math.max(minimum, Math.min(maximum, requestSize - (requestSize % minimum)));
  }

  get size(): number {
    return this.info.size;
  }

  /** Connections that are open at the moment. */
  get connections(): number {
    return this.#pool.size;
  }

  /** Fills all of `into`. On an error what `into` holds is undefined. */
  async read(offset: number, into: Uint8Array, options: RequestOptions = {}): Promise<void> {
    this.#check("read", offset, into.length);
    const { minimum } = this.info.blockSize;
    if (offset % minimum === 0 && into.length % minimum === 0) return await this.#readAligned(offset, into, options.signal);
    // The server may not be asked for part of a block: read whole ones, and copy once.
    const start = offset - (offset % minimum);
    const whole = Buffer.allocUnsafeSlow(Math.ceil((offset + into.length) / minimum) * minimum - start);
    await this.#readAligned(start, whole, options.signal);
    into.set(whole.subarray(offset - start, offset - start + into.length));
  }

  /** Writes `data`, which must not change before the promise settles. */
  async write(offset: number, data: Uint8Array, options: WriteOptions = {}): Promise<void> {
    this.#checkWrite("write", offset, data.length);
    await this.#onWholeBlocks(offset, data.length, options.signal, async (start, whole) => {
      if (!whole) return await this.#writeAligned(offset, data, options);
      await this.read(start, whole, options);
      whole.set(data, offset - start);
      await this.#writeAligned(start, whole, options);
    });
  }

  /** Makes the range read as zeros; by plain writes where the server knows no better, unless `fastZero`. */
  async writeZeroes(offset: number, length: number, options: WriteZeroesOptions = {}): Promise<void> {
    this.#checkWrite("writeZeroes", offset, length);
    const { canWriteZeroes, canFastZero, blockSize } = this.info;
    if (options.fastZero && !canFastZero)
      throw usage("unsupported", "the NBD server does not offer fast zeroing", this.#about(offset, length));
    if (offset % blockSize.minimum !== 0 || length % blockSize.minimum !== 0) return await this.#zeroEdges(offset, length, options);
    if (!canWriteZeroes) return await this.#writePlainZeroes(offset, length, options);
    const flags = (options.noHole ? COMMAND_FLAG.noHole : 0) | (options.fastZero ? COMMAND_FLAG.fastZero : 0);
    await this.#ranged("writeZeroes", offset, length, { ...options, flags });
  }

  /** Tells the server that the range's content is of no use any more. Does nothing where it cannot. */
  async trim(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    this.#checkWrite("trim", offset, length);
    const { minimum } = this.info.blockSize;
    const start = Math.ceil(offset / minimum) * minimum;
    const end = Math.floor((offset + length) / minimum) * minimum;
    if (this.info.canTrim && end > start) await this.#ranged("trim", start, end - start, options);
  }

  /** Tells the server that the range will be read soon. Does nothing where it cannot. */
  async cache(offset: number, length: number, options: RequestOptions = {}): Promise<void> {
    this.#check("cache", offset, length);
    const { minimum } = this.info.blockSize;
    const start = offset - (offset % minimum);
    if (this.info.canCache) await this.#ranged("cache", start, Math.ceil((offset + length) / minimum) * minimum - start, options);
  }

  /** Resolves when everything whose write has resolved before this call is durable. */
  async flush(options: RequestOptions = {}): Promise<void> {
    if (!this.info.canFlush) return;
    await this.#pool.submit({ command: "flush", flags: 0, offset: 0, length: 0 }, options.signal);
  }

  /**
   * The status of each of the server's choice of runs from `offset` on, in one context: at least one, perhaps
   * fewer than the range holds, none beyond it. `one`: exactly one.
   */
  async blockStatus(
    context: string,
    offset: number,
    length: number,
    options: RequestOptions & { readonly one?: boolean } = {},
  ): Promise<StatusExtent[]> {
    this.#check("blockStatus", offset, length);
    const runs = await this.#statusRuns([context], offset, offset + length, options);
    return [...runs].map((run) => ({ offset: run.offset, length: run.length, status: run.statuses[0]! }));
  }

  /** The whole export (or the range) in runs of equal status: ordered, gap-free, joined; memory does not grow with the disk. */
  async *statuses(
    context: string,
    options: RequestOptions & { readonly offset?: number; readonly length?: number } = {},
  ): AsyncGenerator<StatusExtent, void, undefined> {
    for await (const run of this.combinedStatuses([context], options))
      yield { offset: run.offset, length: run.length, status: run.statuses[0]! };
  }

  /** As {@link statuses}, of several contexts at once: a run ends where any of them changes. */
  async *combinedStatuses(
    contexts: readonly string[],
    options: RequestOptions & { readonly offset?: number; readonly length?: number } = {},
  ): AsyncGenerator<StatusRun, void, undefined> {
    const { offset = 0, length = this.size - (options.offset ?? 0) } = options;
    this.#check("blockStatus", offset, length);
    const joiner = new RunJoiner();
    for (let at = offset; at < offset + length;) {
      const from = at;
      for (const run of await this.#statusRuns(contexts, at, offset + length, options)) {
        at = run.offset + run.length;
        const complete = joiner.add(run);
        if (complete) yield complete;
      }
      if (at === from) throw malformed("the NBD server's block status makes no progress", { offset: at });
    }
    const last = joiner.end();
    if (last) yield last;
  }

  /** Says goodbye to the server. Requests under way fail. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #readAligned(offset: number, into: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    await this.#inPieces(into.length, signal, async (at, length, signal) => {
      const piece = length === into.length ? into : into.subarray(at, at + length);
      await this.#pool.submit({ command: "read", flags: 0, offset: offset + at, length, into: piece }, signal);
    });
  }

  async #writeAligned(offset: number, data: Uint8Array, { signal, fua }: WriteOptions): Promise<void> {
    const flags = fua && this.info.canFua ? COMMAND_FLAG.fua : 0;
    await this.#inPieces(data.length, signal, async (at, length, signal) => {
      const payload = length === data.length ? data : data.subarray(at, at + length);
      await this.#pool.submit({ command: "write", flags, offset: offset + at, length, payload }, signal);
    });
    if (fua && !this.info.canFua) await this.flush({ signal });
  }

  /** Runs `each` for every piece of a long request at the same time; the first failure cancels the others, and all have ended. */
  async #inPieces(
    total: number,
    signal: AbortSignal | undefined,
    each: (at: number, length: number, signal: AbortSignal | undefined) => Promise<void>,
  ): Promise<void> {
    if (total === 0) return;
    if (total <= this.#requestSize) return await each(0, total, signal);
    const stop = new AbortController();
    const either = anySignal(signal, stop.signal);
    const count = Math.ceil(total / this.#requestSize);
    const pieces = Array.from({ length: count }, async (_, index) => {
      const at = index * this.#requestSize;
      try {
        await each(at, Math.min(this.#requestSize, total - at), either);
      } catch (error) {
        if (!stop.signal.aborted) stop.abort(error);
        throw error;
      }
    });
    await Promise.allSettled(pieces);
    if (stop.signal.aborted) throw stop.signal.reason;
  }

  /** A request without payload, in as few pieces as its length field allows. */
  async #ranged(command: CommandName, offset: number, length: number, options: WriteOptions & { readonly flags?: number }): Promise<void> {
    const fua = options.fua && this.info.canFua ? COMMAND_FLAG.fua : 0;
    const step = this.info.replies === "extended" ? length : MAX_COMPACT_LENGTH;
    for (let at = 0; at < length; at += step) {
      const request = { command, flags: (options.flags ?? 0) | fua, offset: offset + at, length: Math.min(step, length - at) };
      await this.#pool.submit(request, options.signal);
    }
    if (options.fua && !this.info.canFua) await this.flush(options);
  }

  async #writePlainZeroes(offset: number, length: number, options: WriteOptions): Promise<void> {
    const step = Math.min(length, this.#requestSize);
    const zeroes = new Uint8Array(step);
    for (let at = 0; at < length; at += step)
      await this.#writeAligned(offset + at, zeroes.subarray(0, Math.min(step, length - at)), options);
  }

  async #zeroEdges(offset: number, length: number, options: WriteZeroesOptions): Promise<void> {
    const { minimum } = this.info.blockSize;
    const start = Math.min(Math.ceil(offset / minimum) * minimum, offset + length);
    const end = Math.max(Math.floor((offset + length) / minimum) * minimum, start);
    if (start > offset) await this.write(offset, new Uint8Array(start - offset), options);
    if (end > start) await this.writeZeroes(start, end - start, options);
    if (offset + length > end) await this.write(end, new Uint8Array(offset + length - end), options);
  }

  /**
   * Parts of blocks are written by reading and writing whole ones; writes of ours to the same block wait for
   * each other meanwhile, so that neighbours that share a block do not undo one another.
   */
  async #onWholeBlocks(
    offset: number,
    length: number,
    signal: AbortSignal | undefined,
    run: (start: number, whole?: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const { minimum } = this.info.blockSize;
    if (minimum === 1) return await run(offset);
    const start = offset - (offset % minimum);
    const end = Math.ceil((offset + length) / minimum) * minimum;
    using _held = await this.#edges.acquire(start, end, signal);
    if (start === offset && end === offset + length) return await run(offset);
    await run(start, Buffer.allocUnsafeSlow(end - start));
  }

  async #statusRuns(
    contexts: readonly string[],
    offset: number,
    end: number,
    options: RequestOptions & { readonly one?: boolean },
  ): Promise<Iterable<StatusRun>> {
    const ids = contexts.map((name) => this.#contextId(name));
    const { minimum } = this.info.blockSize;
    const start = offset - (offset % minimum);
    const extended = this.info.replies === "extended";
    const wanted = Math.ceil((end - start) / minimum) * minimum;
    const length = Math.min(wanted, this.size - start, extended ? Number.MAX_SAFE_INTEGER : MAX_COMPACT_LENGTH);
    const flags = options.one ? COMMAND_FLAG.reqOne : 0;
    const chunks = await this.#pool.submit({ command: "blockStatus", flags, offset: start, length }, options.signal);
    return this.#runs(ids, chunks, { offset: start, end, skip: offset - start });
  }

  *#runs(
    ids: readonly number[],
    chunks: StatusChunks,
    range: { offset: number; end: number; skip: number },
  ): Generator<StatusRun, void, undefined> {
    const cursors = ids.map((id) => {
      const chunk = chunks.get(id);
      if (!chunk) throw malformed("the NBD server's block status leaves out a context");
      return new StatusCursor(chunk, this.info.replies === "extended", range);
    });
    let { skip } = range;
    for (const run of alignStatuses(cursors)) {
      const cut = Math.min(skip, run.length);
      skip -= cut;
      if (run.length > cut) yield { offset: run.offset + cut, length: run.length - cut, statuses: run.statuses };
    }
  }

  #contextId(name: string): number {
    const id = this.info.contexts.get(name);
    if (id !== undefined) return id;
    const offered = [...this.info.contexts.keys()];
    throw new NbdError("unsupported", `the NBD server does not offer the metadata context ${name} for this export`, {
      reason: "usage",
      context: { export: this.info.name, offered },
    });
  }

  #checkWrite(command: CommandName, offset: number, length: number): void {
    if (this.info.readOnly) throw usage("unsupported", `cannot ${command}: the NBD export is read-only`, this.#about(offset, length));
    this.#check(command, offset, length);
  }

  #check(command: CommandName, offset: number, length: number): void {
    const inside =
      Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0 && offset + length <= this.size;
    if (!inside) throw usage("out-of-range", `a ${command} reaches outside of the NBD export`, this.#about(offset, length));
  }

  #about(offset: number, length: number): { export: string; size: number; offset: number; length: number } {
    return { export: this.info.name, size: this.size, offset, length };
  }
}
