import { type ErrorContext } from "@godwit/core";
import { kindOfErrno, malformed, NbdError } from "../error.ts";
import type { CommandName, NbdErrno } from "../protocol/constants.ts";
import { LIMIT } from "../protocol/constants.ts";

/** What a connection is asked for. */
export interface Request {
  readonly command: CommandName;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  /** Of a write. */
  readonly payload?: Uint8Array;
  /** Of a read: `length` bytes. */
  readonly into?: Uint8Array;
}

/** The undecoded descriptors of each context of a block status reply, by context id. */
export type StatusChunks = ReadonlyMap<number, Uint8Array>;

/** A request under way and what of its reply has arrived. */
export class Transaction {
  readonly cookie: number;
  readonly request: Request;
  readonly result: PromiseWithResolvers<StatusChunks> = Promise.withResolvers();
  /** Nobody waits for it any more: its reply is consumed and forgotten. */
  abandoned = false;
  /** Its payload is still on its way out of our memory. */
  sending = false;
  readonly #statuses = new Map<number, Uint8Array>();
  #covered = 0;
  /** What of a read has arrived: disjoint, sorted, merged, as offsets [start, end). */
  #pieces: { start: number; end: number }[] = [];
  #failure: NbdError | undefined;

  constructor(cookie: number, request: Request) {
    this.cookie = cookie;
    this.request = request;
  }

  /** Where the bytes of a piece of a read go; `undefined`: to be thrown away. Claims the piece. */
  claim(offset: number, length: number): Uint8Array | undefined {
    const { command, into } = this.request;
    const start = offset - this.request.offset;
    if (command !== "read" || length <= 0 || start < 0 || start + length > this.request.length) {
      throw malformed("a reply has data outside of what was asked for", { ...this.context(), chunkOffset: offset, chunkLength: length });
    }
    this.#cover(start, start + length);
    return this.abandoned || !into ? undefined : into.subarray(start, start + length);
  }

  hole(offset: number, length: number): void {
    this.claim(offset, length)?.fill(0);
  }

  /** Whether a chunk of `bytes` descriptors for `contextId` is acceptable. */
  checkStatus(contextId: number): void {
    if (this.request.command !== "blockStatus") throw malformed("a reply has a block status that was not asked for", this.context());
    if (this.#statuses.has(contextId)) throw malformed("a reply has two block statuses for one context", this.context());
    if (this.#statuses.size >= LIMIT.contexts) throw malformed("a reply has too many block statuses", this.context());
  }

  status(contextId: number, descriptors: Uint8Array): void {
    this.#statuses.set(contextId, this.abandoned ? new Uint8Array() : descriptors);
  }

  /** The server reported an error; the reply may go on. The first one counts. */
  fail(errno: NbdErrno, message: string, offset?: number): void {
    const { command } = this.request;
    this.#failure ??= new NbdError(
      kindOfErrno(errno),
      `the NBD server failed a ${command} with ${errno}${message === "" ? "" : ` (${message})`}`,
      { reason: "server", errno, context: { ...this.context(), ...(offset === undefined ? {} : { failedAt: offset }) } },
    );
  }

  /** The error of the server's reply so far. */
  get errno(): NbdErrno | undefined {
    return this.#failure?.errno;
  }

  /** The reply is complete: settles the result. A success that lacks data is a protocol error. */
  done(): void {
    // An abandoned request is settled by whoever abandoned it.
    if (this.#failure) return this.abandoned ? undefined : this.result.reject(this.#failure);
    if (this.request.command === "read" && this.#covered !== this.request.length) {
      throw malformed(`a read reply ended after ${this.#covered} of ${this.request.length} bytes`, this.context());
    }
    if (this.request.command === "blockStatus" && this.#statuses.size === 0)
      throw malformed("a block status reply is empty", this.context());
    if (!this.abandoned) this.result.resolve(this.#statuses);
  }

  context(): ErrorContext {
    const { command, offset, length } = this.request;
    return { command, offset, length };
  }

  #cover(start: number, end: number): void {
    const pieces = this.#pieces;
    const last = pieces.at(-1);
    let at = pieces.length;
    // Replies nearly always come in order; then the last piece just grows.
    if (last && start < last.end) {
      at = pieces.findIndex((piece) => piece.end > start);
      if (pieces[at]!.start < end) throw malformed("a reply has overlapping data", this.context());
    }
    this.#covered += end - start;
    const before = pieces[at - 1];
    const after = pieces[at];
    if (before?.end === start) {
      before.end = after?.start === end ? (pieces.splice(at, 1), after.end) : end;
    } else if (after?.start === end) {
      after.start = start;
    } else {
      pieces.splice(at, 0, { start, end });
      if (pieces.length > LIMIT.readFragments) throw malformed("a reply comes in too many scattered pieces", this.context());
    }
  }
}
