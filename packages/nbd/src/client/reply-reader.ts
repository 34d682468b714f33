import { malformed } from "../error.ts";
import { decodeMessage, getU64, viewOf } from "../protocol/bytes.ts";
import type { Receiver } from "../protocol/byte-reader.ts";
import {
  CHUNK,
  CHUNK_ERROR_BIT,
  CHUNK_FLAG_DONE,
  errnoName,
  EXTENDED_HEADER_LENGTH,
  LIMIT,
  MAGIC,
  type ReplyMode,
  SIMPLE_REPLY_LENGTH,
  STRUCTURED_REPLY_LENGTH,
} from "../protocol/constants.ts";
import type { Transaction } from "./transaction.ts";

export interface ReplyHandler {
  /** The request of a reply; `undefined` for a cookie that is not in flight. */
  find(cookie: number): Transaction | undefined;
  /** Its reply is complete and settled. */
  finished(transaction: Transaction): void;
  /** The socket no longer writes to the buffer of `transaction`. */
  released(transaction: Transaction): void;
  closed(cause: Error): void;
}

interface Chunk {
  readonly transaction: Transaction;
  readonly type: number;
  readonly done: boolean;
  /** Of the payload. */
  readonly length: number;
}

type Payload =
  | { readonly kind: "data"; readonly chunk: Chunk; readonly into: Uint8Array | undefined; readonly length: number; at: number }
  | { readonly kind: "collect"; readonly chunk: Chunk; readonly into: Uint8Array; readonly length: number; at: number };

/** Headers and small payloads gather here; more would only be copied once more into a read's buffer. */
const SCRATCH = 16 << 10;
const DISCARD = 64 << 10;
/** A data chunk with less than this left is not worth a system call of its own. */
const COOKIE_HIGH = 0x474f4457;
export { COOKIE_HIGH };

/**
 * The replies of one connection, in the transmission phase: bytes in, transactions settled. Holds no
 * socket. Data chunks are received into the reader's own buffer (see {@link Receiver.window}).
 */
export class ReplyReader implements Receiver {
  readonly #mode: ReplyMode;
  readonly #handler: ReplyHandler;
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH);
  readonly #view = viewOf(this.#scratch);
  #start = 0;
  #end = 0;
  #payload: Payload | undefined;
  #discard: Uint8Array | undefined;
  #pinned: Transaction | undefined;

  constructor(mode: ReplyMode, handler: ReplyHandler) {
    this.#mode = mode;
    this.#handler = handler;
  }

  /** The transaction into whose buffer the next bytes of the socket may be written already. */
  get pinned(): Transaction | undefined {
    return this.#pinned;
  }

  window(): Uint8Array {
    const payload = this.#payload;
    if (!payload) {
      this.#compact();
      this.#unpin();
      return this.#scratch.subarray(this.#end);
    }
    const into = payload.kind === "data" && payload.chunk.transaction.abandoned ? undefined : payload.into;
    if (into) {
      if (payload.kind === "data") this.#pinned = payload.chunk.transaction;
      return into.subarray(payload.at);
    }
    this.#unpin();
    this.#discard ??= Buffer.allocUnsafeSlow(DISCARD);
    return this.#discard.subarray(0, Math.min(DISCARD, payload.length - payload.at));
  }

  advance(count: number): void {
    const payload = this.#payload;
    if (payload) {
      payload.at += count;
      if (payload.at < payload.length) return;
      this.#complete(payload);
      // Unpinned before the transaction settles anybody's promise: the buffer is the caller's again.
    } else {
      this.#end += count;
      this.#parse();
    }
  }

  closed(cause: Error): void {
    this.#unpin();
    this.#handler.closed(cause);
  }

  #unpin(): void {
    const was = this.#pinned;
    this.#pinned = undefined;
    if (was) this.#handler.released(was);
  }

  #parse(): void {
    while (this.#start < this.#end) {
      if (this.#payload) this.#fillFromScratch(this.#payload);
      else if (!this.#header()) return;
    }
  }

  #fillFromScratch(payload: Payload): void {
    const count = Math.min(this.#end - this.#start, payload.length - payload.at);
    if (payload.into && !(payload.kind === "data" && payload.chunk.transaction.abandoned)) {
      payload.into.set(this.#scratch.subarray(this.#start, this.#start + count), payload.at);
    }
    payload.at += count;
    this.#start += count;
    if (payload.at === payload.length) this.#complete(payload);
  }

  #compact(): void {
    if (this.#start > 0) {
      this.#scratch.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
  }

  /** Takes one header off the scratch; false when it is not whole yet. */
  #header(): boolean {
    const available = this.#end - this.#start;
    if (available < 4) return false;
    const magic = this.#view.getUint32(this.#start);
    if (magic === MAGIC.simpleReply && this.#mode !== "extended") return available >= SIMPLE_REPLY_LENGTH && this.#simple();
    if (magic === MAGIC.structuredReply && this.#mode === "structured") return this.#chunk(available, STRUCTURED_REPLY_LENGTH);
    if (magic === MAGIC.extendedReply && this.#mode === "extended") return this.#chunk(available, EXTENDED_HEADER_LENGTH);
    throw malformed(`a reply starts with 0x${magic.toString(16)}, which is not allowed with ${this.#mode} replies`);
  }

  #simple(): true {
    const at = this.#start;
    const error = this.#view.getUint32(at + 4);
    const transaction = this.#find(at + 8);
    this.#start += SIMPLE_REPLY_LENGTH;
    const { request } = transaction;
    if (this.#mode === "structured" && request.command === "read")
      throw malformed("a read was answered with a simple reply", transaction.context());
    if (error !== 0) transaction.fail(errnoName(error), "");
    else if (request.command === "blockStatus") throw malformed("a block status was answered with a simple reply", transaction.context());
    if (error === 0 && request.command === "read") {
      this.#data({ transaction, type: CHUNK.data, done: true, length: request.length }, request.offset, request.length);
    } else this.#finish(transaction);
    return true;
  }

  #chunk(available: number, headerLength: number): boolean {
    if (available < headerLength) return false;
    const at = this.#start;
    const view = this.#view;
    const type = view.getUint16(at + 6);
    const length = this.#mode === "extended" ? getU64(view, at + 24) : view.getUint32(at + 16);
    const prefix = type === CHUNK.data ? 8 : type === CHUNK.blockStatus ? 4 : type === CHUNK.blockStatusExt ? 8 : 0;
    if (available < headerLength + Math.min(prefix, length)) return false;
    const transaction = this.#find(at + 8);
    if (this.#mode === "extended" && getU64(view, at + 16) !== transaction.request.offset) {
      throw malformed("a reply repeats another offset than its request's", transaction.context());
    }
    const done = (view.getUint16(at + 4) & CHUNK_FLAG_DONE) !== 0;
    this.#start += headerLength + Math.min(prefix, length);
    this.#begin({ transaction, type, done, length }, at + headerLength);
    return true;
  }

  /** Starts on a chunk whose prefix is at `at` of the scratch. Nothing is allocated before its length is checked. */
  #begin(chunk: Chunk, at: number): void {
    const { type, length, transaction } = chunk;
    if (type === CHUNK.none) {
      if (length !== 0 || !chunk.done) throw malformed("an end-of-reply chunk is malformed", transaction.context());
      return this.#finish(transaction);
    }
    if (type === CHUNK.data) {
      if (length < 9) throw malformed("a data chunk is empty", transaction.context());
      return this.#data(chunk, getU64(this.#view, at), length - 8);
    }
    if (type === CHUNK.hole) {
      if (length !== 12) throw malformed(`a hole chunk is ${length} bytes long`, transaction.context());
      return this.#collect(chunk, length);
    }
    if (type === (this.#mode === "extended" ? CHUNK.blockStatusExt : CHUNK.blockStatus)) return this.#status(chunk, at);
    if ((type & CHUNK_ERROR_BIT) === 0) throw malformed(`a reply has a chunk of the unknown type ${type}`, transaction.context());
    if (length < 6 || length > LIMIT.errorChunk) throw malformed(`an error chunk is ${length} bytes long`, transaction.context());
    this.#collect(chunk, length);
  }

  #data(chunk: Chunk, offset: number, length: number): void {
    this.#payload = { kind: "data", chunk, into: chunk.transaction.claim(offset, length), length, at: 0 };
  }

  #status(chunk: Chunk, at: number): void {
    const [prefix, unit] = this.#mode === "extended" ? [8, 16] : [4, 8];
    const { length, transaction } = chunk;
    const count = (length - prefix) / unit;
    if (!Number.isInteger(count) || count < 1 || count > LIMIT.statusExtents) {
      throw malformed(`a block status chunk is ${length} bytes long`, transaction.context());
    }
    if (prefix === 8 && this.#view.getUint32(at + 4) !== count)
      throw malformed("a block status chunk miscounts its extents", transaction.context());
    const contextId = this.#view.getUint32(at);
    transaction.checkStatus(contextId);
    this.#collect(chunk, count * unit, contextId);
  }

  #contextId = 0;

  #collect(chunk: Chunk, length: number, contextId = 0): void {
    this.#contextId = contextId;
    this.#payload = { kind: "collect", chunk, into: new Uint8Array(length), length, at: 0 };
  }

  #complete(payload: Payload): void {
    const { chunk } = payload;
    this.#payload = undefined;
    if (payload.kind === "collect") this.#deliver(chunk, payload.into);
    if (chunk.done) this.#finish(chunk.transaction);
  }

  #deliver({ type, transaction }: Chunk, bytes: Uint8Array): void {
    const view = viewOf(bytes);
    if (type === CHUNK.hole) return transaction.hole(getU64(view, 0), view.getUint32(8));
    if ((type & CHUNK_ERROR_BIT) === 0) return transaction.status(this.#contextId, bytes);
    const errno = view.getUint32(0);
    const messageLength = view.getUint16(4);
    const rest = bytes.length - 6 - messageLength;
    if (errno === 0 || messageLength > LIMIT.string || rest < (type === CHUNK.errorOffset ? 8 : 0)) {
      throw malformed("an error chunk is malformed", transaction.context());
    }
    const message = decodeMessage(bytes.subarray(6, 6 + messageLength));
    const offset = type === CHUNK.errorOffset ? getU64(view, 6 + messageLength) : undefined;
    transaction.fail(errnoName(errno), message, offset);
  }

  #find(at: number): Transaction {
    const low = this.#view.getUint32(at + 4);
    const transaction = this.#view.getUint32(at) === COOKIE_HIGH ? this.#handler.find(low) : undefined;
    if (!transaction) throw malformed("a reply carries a cookie that no request in flight has");
    return transaction;
  }

  #finish(transaction: Transaction): void {
    transaction.done();
    this.#handler.finished(transaction);
  }
}
