import type { StatusExtent } from "../client/status.ts";
import { setU64, viewOf } from "../protocol/bytes.ts";
import {
  CHUNK,
  CHUNK_FLAG_DONE,
  errnoValue,
  EXTENDED_HEADER_LENGTH,
  MAGIC,
  type NbdErrno,
  type ReplyMode,
  SIMPLE_REPLY_LENGTH,
  STRUCTURED_REPLY_LENGTH,
} from "../protocol/constants.ts";
import type { RequestHeader } from "../protocol/request.ts";
import type { ServerChannel } from "./channel.ts";

/** Writes the replies of one connection in the framing that was agreed on. */
export class ReplyWriter {
  readonly #channel: ServerChannel;
  readonly #mode: ReplyMode;

  constructor(channel: ServerChannel, mode: ReplyMode) {
    this.#channel = channel;
    this.#mode = mode;
  }

  /** Success without data. */
  ok(request: RequestHeader): void {
    if (this.#mode === "simple") this.#simple(request, 0);
    else this.#channel.send(this.#chunk(request, CHUNK.none, { done: true, length: 0 }));
  }

  error(request: RequestHeader, errno: NbdErrno, message: string): void {
    if (this.#mode === "simple") return this.#simple(request, errnoValue(errno));
    const text = Buffer.from(message.slice(0, 512));
    const prefix = Buffer.alloc(6);
    prefix.writeUInt32BE(errnoValue(errno));
    prefix.writeUInt16BE(text.length, 4);
    this.#channel.send(Buffer.concat([this.#chunk(request, CHUNK.error, { done: true, length: 6 + text.length }), prefix, text]));
  }

  /** Data of a read. With simple replies it must be all of it. `sent` is called when `data` may change again. */
  data(request: RequestHeader, offset: number, data: Uint8Array, end: { done: boolean; sent?: () => void }): void {
    if (this.#mode === "simple") this.#simple(request, 0);
    else this.#channel.send(this.#chunk(request, CHUNK.data, { done: end.done, length: 8 + data.length, offset }));
    this.#channel.send(data, end.sent);
  }

  /** A part of a read that is all zeros; not with simple replies. */
  hole(request: RequestHeader, offset: number, length: number, done: boolean): void {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(length);
    this.#channel.send(Buffer.concat([this.#chunk(request, CHUNK.hole, { done, length: 12, offset }), size]));
  }

  status(request: RequestHeader, contextId: number, extents: readonly StatusExtent[], done: boolean): void {
    const extended = this.#mode === "extended";
    const unit = extended ? 16 : 8;
    const prefix = extended ? 8 : 4;
    const payload = Buffer.alloc(prefix + extents.length * unit);
    const view = viewOf(payload);
    view.setUint32(0, contextId);
    if (extended) view.setUint32(4, extents.length);
    extents.forEach(({ length, status }, index) => {
      const at = prefix + index * unit;
      if (extended) {
        setU64(view, at, length);
        setU64(view, at + 8, status);
      } else {
        view.setUint32(at, length);
        view.setUint32(at + 4, status);
      }
    });
    this.#channel.send(this.#chunk(request, extended ? CHUNK.blockStatusExt : CHUNK.blockStatus, { done, length: payload.length }));
    this.#channel.send(payload);
  }

  #simple(request: RequestHeader, error: number): void {
    const header = Buffer.allocUnsafe(SIMPLE_REPLY_LENGTH);
    header.writeUInt32BE(MAGIC.simpleReply);
    header.writeUInt32BE(error, 4);
    this.#cookie(header, request);
    this.#channel.send(header);
  }

  /** A chunk's header, with the offset that data and hole chunks begin with. */
  #chunk(request: RequestHeader, type: number, chunk: { done: boolean; length: number; offset?: number }): Buffer {
    const extended = this.#mode === "extended";
    const length = extended ? EXTENDED_HEADER_LENGTH : STRUCTURED_REPLY_LENGTH;
    const header = Buffer.allocUnsafe(length + (chunk.offset === undefined ? 0 : 8));
    const view = viewOf(header);
    view.setUint32(0, extended ? MAGIC.extendedReply : MAGIC.structuredReply);
    view.setUint16(4, chunk.done ? CHUNK_FLAG_DONE : 0);
    view.setUint16(6, type);
    this.#cookie(header, request);
    if (extended) {
      setU64(view, 16, request.offset);
      setU64(view, 24, chunk.length);
    } else view.setUint32(16, chunk.length);
    if (chunk.offset !== undefined) setU64(view, length, chunk.offset);
    return header;
  }

  #cookie(header: Buffer, request: RequestHeader): void {
    header.writeUInt32BE(request.cookieHigh, 8);
    header.writeUInt32BE(request.cookieLow, 12);
  }
}
