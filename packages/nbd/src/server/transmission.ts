import { BlockError, type Lent, toError } from "@godwit/core";
import type { StatusExtent } from "../client/status.ts";
import { malformed, NbdError } from "../error.ts";
import { COMMAND_FLAG, type CommandName, LIMIT, type NbdErrno } from "../protocol/constants.ts";
import { commandName, decodeRequest, type RequestHeader, requestLength } from "../protocol/request.ts";
import { zeroRuns } from "../zeroes.ts";
import { type Budget, type BufferPool } from "./budget.ts";
import type { ServerChannel } from "./channel.ts";
import { canTrim, lends } from "./export.ts";
import type { Agreement } from "./negotiation.ts";
import { ReplyWriter } from "./reply-writer.ts";

/** Reads are done and answered in pieces of this size, so that a large one needs no large buffer. */
export const PIECE = 256 << 10;
/** Zeros are looked for in blocks of this size: small enough to find them, large enough not to shred replies. */
const ZERO_BLOCK = 32 << 10;
/** Extents in one block status reply: the client asks again. */
const MAX_STATUSES = 1 << 16;
const nothing = new Uint8Array();

/** A failure that the client is told about. */
class RequestError extends Error {
  readonly errno: NbdErrno;

  constructor(errno: NbdErrno, message: string) {
    super(message);
    this.errno = errno;
  }
}

/** Which flags each command may carry, besides FUA and what extended headers add. */
const FLAGS: Record<Exclude<CommandName, "disconnect">, number> = {
  read: COMMAND_FLAG.dontFragment,
  write: 0,
  flush: 0,
  trim: 0,
  cache: 0,
  writeZeroes: COMMAND_FLAG.noHole,
  blockStatus: COMMAND_FLAG.reqOne,
};

export interface TransmissionParts {
  readonly channel: ServerChannel;
  readonly agreement: Agreement;
  readonly budget: Budget;
  readonly buffers: BufferPool;
  /** Ends reads when the client is gone. */
  readonly reading: AbortSignal;
  /** Ends writes when the server stops and its patience is over. */
  readonly writing: AbortSignal;
}

/** The transmission phase with one client. */
export class Transmission {
  readonly #parts: TransmissionParts;
  readonly #writer: ReplyWriter;

  constructor(parts: TransmissionParts) {
    this.#parts = parts;
    this.#writer = new ReplyWriter(parts.channel, parts.agreement.replies);
  }

  /** Serves requests until the client says goodbye; rejects when it just leaves or breaks the protocol. */
  async run(): Promise<void> {
    const { channel, agreement, budget } = this.#parts;
    const extended = agreement.replies === "extended";
    for (;;) {
      const length = requestLength(extended);
      const request = decodeRequest(channel.reader.tryRead(length) ?? (await channel.reader.read(length)), extended);
      const command = commandName(request.type);
      if (command === "disconnect") return await budget.idle();
      const hasPayload = extended ? (request.flags & COMMAND_FLAG.payloadLength) !== 0 : command === "write";
      const payload = hasPayload ? request.length : 0;
      if (payload > LIMIT.payload) throw malformed(`the client sends ${payload} bytes in one request`);
      const bytes = this.#cost(command, request);
      if (!budget.tryEnter(bytes)) await budget.enter(bytes);
      if (command === "read" && payload === 0 && this.#readAtOnce(request, bytes)) continue;
      const data = command === "write" && !this.#refusal(command, request) ? Buffer.allocUnsafeSlow(payload) : undefined;
      try {
        if (data) await channel.reader.readInto(data);
        else await channel.reader.skip(payload);
      } catch (error) {
        // Nobody serves it, who would leave the room that was taken for it.
        budget.leave(bytes);
        throw error;
      }
      void this.#serve(command, request, bytes, data);
    }
  }

  /** Answers a read of what the source has at hand, in this turn; false when it is to be served as others are. */
  #readAtOnce(request: RequestHeader, bytes: number): boolean {
    const { agreement, reading, channel, budget } = this.#parts;
    const { source } = agreement.served.export;
    const { offset, length } = request;
    if (agreement.replies === "simple" || length === 0 || length > PIECE || !lends(source) || this.#refusal("read", request)) return false;
    let lent: Lent | Promise<Lent>;
    try {
      lent = source.lend(offset, length, { signal: reading });
    } catch {
      return false;
    }
    if (lent instanceof Promise) {
      void this.#answerLent(request, lent, bytes);
      return true;
    }
    this.#sendLent(request, lent, { offset, last: true });
    const here = lent;
    channel.send(nothing, () => {
      here.release();
      budget.leave(bytes);
    });
    return true;
  }

  async #answerLent(request: RequestHeader, lending: Promise<Lent>, bytes: number): Promise<void> {
    const { channel, budget } = this.#parts;
    let lent: Lent | undefined;
    try {
      lent = await lending;
      this.#sendLent(request, lent, { offset: request.offset, last: true });
    } catch (error) {
      const { errno, message } = explain(error);
      if (channel.open) this.#writer.error(request, errno, message);
    }
    channel.send(nothing, () => {
      lent?.release();
      budget.leave(bytes);
    });
  }

  #sendLent(request: RequestHeader, { pieces }: Lent, { offset, last }: { readonly offset: number; readonly last: boolean }): void {
    // A client may ask for a read in one chunk.
    const whole = (request.flags & COMMAND_FLAG.dontFragment) !== 0;
    if (whole && pieces.length > 1) {
      const joined = Buffer.concat(pieces.map(({ bytes, length }) => bytes ?? new Uint8Array(length)));
      return this.#writer.data(request, offset, joined, { done: last });
    }
    let at = offset;
    pieces.forEach(({ bytes, length }, index) => {
      const done = last && index === pieces.length - 1;
      if (bytes) this.#writer.data(request, at, bytes, { done });
      else if (whole) this.#writer.data(request, at, new Uint8Array(length), { done });
      else this.#writer.hole(request, at, length, done);
      at += length;
    });
  }

  /** Bytes of buffers that a request needs at a time. */
  #cost(command: CommandName | undefined, { length, flags }: RequestHeader): number {
    if (command === "write") return length;
    if (command !== "read") return 0;
    const whole = this.#parts.agreement.replies === "simple" || (flags & COMMAND_FLAG.dontFragment) !== 0;
    return Math.min(length, whole ? LIMIT.payload : PIECE);
  }

  async #serve(command: CommandName | undefined, request: RequestHeader, bytes: number, data?: Uint8Array): Promise<void> {
    try {
      const refusal = this.#refusal(command, request);
      if (refusal) throw refusal;
      await this.#execute(command!, request, data);
    } catch (error) {
      const { errno, message } = explain(error);
      if (this.#parts.channel.open) this.#writer.error(request, errno, message);
    }
    // The request counts until its reply is out: a client that does not read is not served on.
    this.#parts.channel.send(nothing, () => this.#parts.budget.leave(bytes));
  }

  #refusal(command: CommandName | undefined, { flags, offset, length }: RequestHeader): RequestError | undefined {
    const { served, replies } = this.#parts.agreement;
    if (command === undefined || command === "disconnect" || command === "cache") return new RequestError("EINVAL", "unknown command");
    const writes = command === "write" || command === "trim" || command === "writeZeroes";
    if (writes && !served.export.sink) return new RequestError("EPERM", "the export is read-only");
    // With extended headers a write must say that it has a payload; without them there is no such flag.
    const payloadLength = replies === "extended" && command === "write" ? COMMAND_FLAG.payloadLength : 0;
    const allowed = FLAGS[command] | COMMAND_FLAG.fua | payloadLength;
    if ((flags & ~allowed) !== 0 || (flags & payloadLength) !== payloadLength) return new RequestError("EINVAL", "unknown flags");
    if (command === "flush") return undefined;
    if (offset + length > served.size)
      return new RequestError(writes && command !== "trim" ? "ENOSPC" : "EINVAL", "the request reaches outside of the export");
    const { minimum } = served.blockSize;
    if (offset % minimum !== 0 || length % minimum !== 0)
      return new RequestError("EINVAL", `the request is not aligned to ${minimum} bytes`);
    if (command === "read" && length > LIMIT.payload)
      return new RequestError("EOVERFLOW", `at most ${LIMIT.payload} bytes can be read at once`);
    return undefined;
  }

  async #execute(command: CommandName, request: RequestHeader, data: Uint8Array | undefined): Promise<void> {
    switch (command) {
      case "read":
        return await this.#read(request);
      case "blockStatus":
        return await this.#status(request);
      case "write":
      case "writeZeroes":
      case "trim":
      case "flush":
        await this.#write(command, request, data);
        return this.#writer.ok(request);
      case "cache":
      case "disconnect":
        throw new RequestError("EINVAL", "unknown command");
    }
  }

  async #read(request: RequestHeader): Promise<void> {
    const { agreement } = this.#parts;
    if (request.length === 0 && agreement.replies !== "simple") return this.#writer.ok(request);
    const whole = agreement.replies === "simple" || (request.flags & COMMAND_FLAG.dontFragment) !== 0;
    const step = whole ? request.length : PIECE;
    let at = 0;
    do {
      const length = Math.min(step, request.length - at);
      await this.#readPiece(request, request.offset + at, length, whole);
      at += length;
    } while (at < request.length);
  }

  /** Reads and sends one piece; its buffer is used again once the kernel has it. */
  async #readPiece(request: RequestHeader, offset: number, length: number, whole: boolean): Promise<void> {
    const { agreement, buffers, reading, channel } = this.#parts;
    const { source } = agreement.served.export;
    const last = offset + length === request.offset + request.length;
    if (!whole && lends(source)) {
      const lent = await source.lend(offset, length, { signal: reading });
      this.#sendLent(request, lent, { offset, last });
      const { promise, resolve } = Promise.withResolvers<void>();
      channel.send(nothing, () => {
        lent.release();
        resolve();
      });
      if (!last) await promise;
      return;
    }
    const buffer = buffers.take(length);
    const piece = buffer.subarray(0, length);
    try {
      await source.read(offset, piece, { signal: reading });
    } catch (error) {
      buffers.give(buffer);
      throw error;
    }
    if (whole) this.#writer.data(request, offset, piece, { done: true });
    else {
      for (const { start, end, zero } of zeroRuns(piece, offset, ZERO_BLOCK)) {
        const done = last && end === length;
        if (zero) this.#writer.hole(request, offset + start, end - start, done);
        else this.#writer.data(request, offset + start, piece.subarray(start, end), { done });
      }
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    channel.send(nothing, () => {
      buffers.give(buffer);
      resolve();
    });
    if (!last) await promise;
  }

  async #status(request: RequestHeader): Promise<void> {
    const { agreement, reading } = this.#parts;
    if (agreement.contexts.size === 0) throw new RequestError("EINVAL", "no metadata context was agreed on");
    if (request.length === 0) throw new RequestError("EINVAL", "a block status of nothing");
    const one = (request.flags & COMMAND_FLAG.reqOne) !== 0;
    const chunks: { id: number; extents: StatusExtent[] }[] = [];
    for (const [id, context] of agreement.contexts) {
      const extents: StatusExtent[] = [];
      for await (const extent of context.statuses(request.offset, request.length, { signal: reading })) {
        // Lengths fit as they are: none is larger than the request's, which came in a field of the same size.
        const last = extents.at(-1);
        if (last?.status === extent.status) extents[extents.length - 1] = { ...last, length: last.length + extent.length };
        else if (extents.length >= (one ? 1 : MAX_STATUSES)) break;
        else extents.push(extent);
      }
      chunks.push({ id, extents });
    }
    chunks.forEach(({ id, extents }, index) => this.#writer.status(request, id, extents, index === chunks.length - 1));
  }

  async #write(command: "write" | "writeZeroes" | "trim" | "flush", request: RequestHeader, data: Uint8Array | undefined): Promise<void> {
    const { offset, length, flags } = request;
    const { sink } = this.#parts.agreement.served.export;
    const signal = this.#parts.writing;
    if (!sink) return;
    if (command !== "flush" && length > 0) {
      if (data) await sink.write(offset, data, { signal });
      else if (command === "trim") {
        if (canTrim(sink)) await sink.trim(offset, length, { signal });
      } else if ((flags & COMMAND_FLAG.noHole) === 0) await sink.writeZeroes(offset, length, { signal });
      else {
        // Allocated zeros are only had by writing them.
        const zeroes = new Uint8Array(Math.min(length, PIECE));
        for (let at = 0; at < length; at += zeroes.length)
          await sink.write(offset + at, zeroes.subarray(0, Math.min(zeroes.length, length - at)), { signal });
      }
    }
    if (command === "flush" || (flags & COMMAND_FLAG.fua) !== 0) await sink.flush({ signal });
  }
}

const NO_SPACE = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** What a client is told about an error: never more than an error of ours says itself. */
function explain(thrown: unknown): { errno: NbdErrno; message: string } {
  if (thrown instanceof RequestError) return thrown;
  const message = thrown instanceof BlockError ? thrown.message : "the server failed";
  if (thrown instanceof NbdError && thrown.errno !== undefined) return { errno: thrown.errno, message };
  for (let error: unknown = thrown, depth = 0; error !== undefined && depth < 8; depth += 1) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== undefined && NO_SPACE.has(code)) return { errno: "ENOSPC", message };
    error = toError(error).cause;
  }
  return { errno: thrown instanceof BlockError && thrown.kind === "out-of-range" ? "EINVAL" : "EIO", message };
}
