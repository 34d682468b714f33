import { anySignal, type Clock, Semaphore, systemClock, toError } from "@godwit/core";
import { LibvirtError } from "../errors.ts";
import type { Transport } from "../transport/transport.ts";
import { decode } from "../xdr/decoder.ts";
import { Exchange } from "./exchange.ts";
import { encodeFrame, encodeHeader, type Frame, FrameReader, type Header, MessageStatus, MessageType } from "./frame.ts";
import { type KeepaliveOptions, keepaliveProgram, watchPeer } from "./keepalive.ts";
import type { Caller, CallOptions, Procedure, ProgramId } from "./procedure.ts";
import { LibvirtStream, type StreamPort } from "./stream.ts";

export interface SessionOptions {
  /**
   * Calls that the daemon has not answered yet, at most; later ones wait here. Default 4: libvirtd reads no further
   * message, keepalive included, while `max_client_requests` (5) messages are under way.
   */
  readonly maxInFlight?: number | undefined;
  readonly keepalive?: KeepaliveOptions | undefined;
  /** Bytes of a stream that may wait for its reader before the connection stops reading. Default 1 MiB. */
  readonly streamBufferBytes?: number | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * Life of a session. `closing`: we said goodbye; nothing new may be sent. `closed`: the transport is given up,
 * `error` says why, or is undefined when we closed it.
 */
export type SessionState =
  | { readonly kind: "open" }
  | { readonly kind: "closing" }
  | { readonly kind: "closed"; readonly error: LibvirtError | undefined };

/** What the daemon sends unasked: the program, the procedure and the payload. */
export type MessageHandler = (header: Header, payload: Buffer) => void;

/**
 * One conversation with a daemon: calls matched to answers by serial, streams, keepalive. It knows frames
 * and bytes; the opening sequence is the connection's.
 */
export class Session implements Caller, AsyncDisposable {
  readonly transport: Transport;
  /** Resolves when the session is closed, with the reason unless we closed it. */
  readonly closed: Promise<LibvirtError | undefined>;
  onMessage: MessageHandler = () => undefined;
  readonly #reader = new FrameReader();
  readonly #pending = new Map<number, Pending>();
  readonly #streams = new Map<number, { readonly header: Header; readonly stream: LibvirtStream<unknown> }>();
  readonly #slots: Semaphore;
  readonly #clock: Clock;
  readonly #keepalive: KeepaliveOptions;
  readonly #streamBufferBytes: number;
  readonly #end: AbortController = new AbortController();
  readonly #closed: PromiseWithResolvers<LibvirtError | undefined> = Promise.withResolvers();
  #state: SessionState = { kind: "open" };
  #serial = 0;
  #holds = 0;
  #lastReceived: number;
  #drain: PromiseWithResolvers<void> | undefined;

  constructor(transport: Transport, options: SessionOptions = {}) {
    this.transport = transport;
    this.closed = this.#closed.promise;
    this.#slots = new Semaphore(options.maxInFlight ?? 4);
    this.#clock = options.clock ?? systemClock;
    this.#keepalive = options.keepalive ?? {};
    this.#streamBufferBytes = options.streamBufferBytes ?? 1_048_576;
    this.#lastReceived = this.#clock.monotonic();
    const { stream } = transport;
    stream.on("data", (chunk: Buffer) => this.#receive(chunk));
    stream.on("drain", () => this.#drained());
    stream.on("error", (error) => this.#lost(error));
    stream.on("end", () => this.#lost(undefined));
    stream.on("close", () => this.#lost(undefined));
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Starts to watch the peer: once both sides know that the other speaks keepalive. */
  startKeepalive(): void {
    const peer = {
      lastReceived: () => this.#lastReceived,
      isPaused: () => this.#holds > 0,
      ping: () => this.#sendKeepalive(keepaliveProgram.ping),
      pong: () => this.#sendKeepalive(keepaliveProgram.pong),
      dead: (silentMs: number) =>
        this.fail(
          new LibvirtError("connection-lost", `${this.transport.description}: no sign of life for ${Math.round(silentMs / 1000)} s`, {
            silentMs: Math.round(silentMs),
          }),
        ),
    };
    void watchPeer(peer, this.#keepalive, this.#clock, this.#end.signal);
  }

  call<Args, Result>(program: ProgramId, procedure: Procedure<Args, Result>, args: Args, options: CallOptions = {}): Promise<Result> {
    const exchange = new Exchange(
      procedure.name,
      ({ payload }) => decode(procedure.result, payload),
      () => undefined,
    );
    return this.#send(exchange, program, procedure, args, { signal: options.signal });
  }

  open<Args, Result>(
    program: ProgramId,
    procedure: Procedure<Args, Result>,
    args: Args,
    options: CallOptions = {},
  ): Promise<LibvirtStream<Result>> {
    const exchange = new Exchange(
      procedure.name,
      (frame) => this.#startStream(frame, procedure),
      (stream) => void stream.abort(),
    );
    return this.#send(exchange, program, procedure, args, { signal: options.signal, early: new EarlyFrames() });
  }

  /** Gives up: fails whatever waits, with kind `closed`, and closes the transport. Idempotent. */
  async close(): Promise<void> {
    this.#setState({ kind: "closed", error: undefined });
    await this.transport.close();
  }

  /** From now on new calls are refused; what is under way goes on. */
  beginClosing(): void {
    if (this.#state.kind === "open") this.#setState({ kind: "closing" });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #send<Args, Value>(
    exchange: Exchange<Value>,
    program: ProgramId,
    procedure: Procedure<Args, unknown>,
    args: Args,
    { signal, early }: { readonly signal: AbortSignal | undefined; readonly early?: EarlyFrames },
  ): Promise<Value> {
    this.#assertOpen(procedure.name);
    const slot = await this.#slots.acquire({ signal: anySignal(signal, this.#end.signal) });
    try {
      signal?.throwIfAborted();
      this.#assertOpen(procedure.name);
      const header = this.#header(program, procedure.number, MessageType.call);
      const frame = encodeFrame(header, (to) => procedure.args.write(to, args));
      this.#pending.set(header.serial, { header, exchange, slot, early });
      this.transport.stream.write(frame);
    } catch (error) {
      slot[Symbol.dispose]();
      throw error;
    }
    return exchange.result(signal);
  }

  #header(program: ProgramId, procedure: number, type: number): Header {
    do this.#serial = (this.#serial + 1) >>> 0;
    while (this.#serial === 0 || this.#pending.has(this.#serial) || this.#streams.has(this.#serial));
    return { program: program.number, version: program.version, procedure, type, serial: this.#serial, status: MessageStatus.ok };
  }

  #startStream<Result>({ header, payload }: Frame, procedure: Pick<Procedure<unknown, Result>, "name" | "result">): LibvirtStream<Result> {
    const { serial } = header;
    const base = { ...header, type: MessageType.stream };
    const { stream: socket } = this.transport;
    const alive = (): boolean => this.#state.kind !== "closed";
    const port: StreamPort = {
      procedure: procedure.name,
      bufferBytes: this.#streamBufferBytes,
      send: (type, status, write) => void (alive() && socket.write(encodeFrame({ ...base, type, status }, write))),
      sendData: (data) => {
        if (!alive()) return;
        socket.cork();
        socket.write(encodeHeader({ ...base, status: MessageStatus.continue }, data.length));
        socket.write(data);
        socket.uncork();
      },
      drained: () => this.#whenDrained(),
      hold: (held) => this.#hold(held),
      ended: () => this.#streams.delete(serial),
    };
    const stream = new LibvirtStream<Result>(port, decode(procedure.result, payload));
    this.#streams.set(serial, { header, stream });
    return stream;
  }

  #receive(chunk: Buffer): void {
    if (this.#state.kind === "closed") return;
    this.#lastReceived = this.#clock.monotonic();
    try {
      this.#reader.push(chunk);
      for (let frame = this.#reader.next(); frame; frame = this.#reader.next()) this.#dispatch(frame);
    } catch (error) {
      const reason = `${this.transport.description}: the peer broke the protocol`;
      this.fail(new LibvirtError("protocol", reason, {}, { cause: toError(error) }));
    }
  }

  #dispatch(frame: Frame): void {
    const { header } = frame;
    switch (header.type) {
      case MessageType.reply:
        this.#answer(frame);
        return;
      case MessageType.stream:
      case MessageType.streamHole:
        this.#streamMessage(frame);
        return;
      case MessageType.message:
        if (header.program !== keepaliveProgram.number) this.onMessage(header, frame.payload);
        else if (header.procedure === keepaliveProgram.ping) this.#sendKeepalive(keepaliveProgram.pong);
        return;
      default:
        throw new LibvirtError("protocol", `a message of type ${header.type}, which a client never gets`, { type: header.type });
    }
  }

  #answer(frame: Frame): void {
    const { header } = frame;
    const pending = this.#pending.get(header.serial);
    if (!pending || !sameCall(pending.header, header) || header.status === MessageStatus.continue) {
      throw new LibvirtError("protocol", `an answer to no call of ours (serial ${header.serial}, procedure ${header.procedure})`, {
        serial: header.serial,
      });
    }
    this.#pending.delete(header.serial);
    pending.slot[Symbol.dispose]();
    pending.exchange.answer(frame);
    for (const message of pending.early?.frames ?? []) this.#streamMessage(message);
  }

  #streamMessage(frame: Frame): void {
    const open = this.#streams.get(frame.header.serial);
    const pending = open ? undefined : this.#pending.get(frame.header.serial);
    if (pending?.early && sameCall(pending.header, frame.header)) {
      pending.early.add(frame);
      return;
    }
    // The daemon may still send what it had under way when a stream failed or was given up.
    if (!open) return;
    if (!sameCall(open.header, frame.header)) {
      throw new LibvirtError("protocol", `a message for stream ${frame.header.serial} from another procedure`, {
        serial: frame.header.serial,
      });
    }
    open.stream.receive(frame);
  }

  #sendKeepalive(procedure: number): void {
    if (this.#state.kind === "closed") return;
    const { number: program, version } = keepaliveProgram;
    const header = { program, version, procedure, type: MessageType.message, serial: 0, status: MessageStatus.ok };
    this.transport.stream.write(encodeHeader(header, 0));
  }

  #hold(held: boolean): void {
    this.#holds += held ? 1 : -1;
    if (this.#holds > 0) this.transport.stream.pause();
    else this.transport.stream.resume();
  }

  async #whenDrained(): Promise<void> {
    if (this.#state.kind === "closed" || !this.transport.stream.writableNeedDrain) return;
    this.#drain ??= Promise.withResolvers();
    await this.#drain.promise;
  }

  #drained(): void {
    this.#drain?.resolve();
    this.#drain = undefined;
  }

  #lost(cause: Error | undefined): void {
    const cut = this.#reader.pending > 0 ? ` in the middle of a message (${this.#reader.pending} bytes of it came)` : "";
    const message = `${this.transport.description}: the connection ended${cut}`;
    this.fail(new LibvirtError("connection-lost", message, {}, cause ? { cause } : {}));
  }

  /** Gives up because of `error`: every call, stream and event fails with it as the cause. */
  fail(error: LibvirtError): void {
    if (this.#state.kind === "closed") return;
    this.#setState({ kind: "closed", error });
    this.transport.close().catch(() => undefined);
  }

  /** The only place where the state changes. Leaving for `closed` ends everything that waits. */
  #setState(next: SessionState): void {
    if (this.#state.kind === "closed") return;
    this.#state = next;
    if (next.kind !== "closed") return;
    const reason = next.error ?? new LibvirtError("closed", `${this.transport.description}: the connection was closed here`);
    this.#end.abort(reason);
    for (const { exchange, slot } of this.#pending.values()) {
      slot[Symbol.dispose]();
      exchange.fail(reason);
    }
    for (const { stream } of this.#streams.values()) stream.fail(reason);
    this.#pending.clear();
    this.#streams.clear();
    this.#drained();
    this.#closed.resolve(next.error);
  }

  #assertOpen(procedure: string): void {
    if (this.#state.kind === "open" || (this.#state.kind === "closing" && procedure === "connectClose")) return;
    const cause = this.#state.kind === "closed" ? this.#state.error : undefined;
    const options = cause ? { cause } : {};
    throw new LibvirtError(cause ? cause.kind : "closed", `${procedure}: not sent, the connection is closed`, { procedure }, options);
  }
}

interface Pending {
  readonly header: Header;
  readonly exchange: Pick<Exchange<unknown>, "answer" | "fail">;
  readonly slot: Disposable;
  /** Of a call that opens a stream. */
  readonly early: EarlyFrames | undefined;
}

const earlyLimit = 16 << 20;

/**
 * What came for a stream before the answer that opens it: the daemon's event loop may send the first data while one of
 * its workers still writes the answer (libvirt, src/rpc/virnetclientstream.c, is ready for it, too).
 */
class EarlyFrames {
  readonly frames: Frame[] = [];
  #bytes = 0;

  add(frame: Frame): void {
    this.#bytes += frame.payload.length;
    if (this.#bytes > earlyLimit) throw new LibvirtError("protocol", `more than ${earlyLimit} bytes for a stream that was not opened yet`);
    this.frames.push(frame);
  }
}

const sameCall = (a: Header, b: Header): boolean => a.program === b.program && a.version === b.version && a.procedure === b.procedure;
