import { raceAbort } from "@godwit/core";
import { LibvirtError, remoteError } from "../errors.ts";
import { ErrorReply, StreamHole } from "../protocol/generated/types.ts";
import { decode } from "../xdr/decoder.ts";
import type { Encoder } from "../xdr/encoder.ts";
import type { CallOptions } from "./procedure.ts";
import { type Frame, MessageStatus, MessageType, streamDataLimit } from "./frame.ts";

/** A piece of a stream. Holes come only where the call asked for a sparse stream. */
export type StreamChunk =
  | { readonly kind: "data"; readonly data: Uint8Array }
  /** `length` bytes that read as zeros. */
  | { readonly kind: "hole"; readonly length: bigint };

/** What a stream needs of the connection it runs on. */
export interface StreamPort {
  readonly procedure: string;
  /** Bytes that may wait for a slow reader before the connection stops reading. */
  readonly bufferBytes: number;
  send(type: number, status: number, write: (to: Encoder) => void): void;
  sendData(data: Uint8Array): void;
  /** Resolves when the transport takes more. */
  drained(): Promise<void>;
  /** Stops (or no longer stops) the connection's reading on behalf of this stream. */
  hold(held: boolean): void;
  /** The stream is over: its serial means nothing any more. */
  ended(): void;
}

type State =
  | { readonly kind: "open" }
  /** We said that we are done (or gave up) and wait for the daemon to say the same. */
  | { readonly kind: "finishing" | "aborting" }
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly error: Error };

const zeros = new Uint8Array(65_536);

/**
 * The bytes that belong to a call, in one or both directions. It ends by `finish()`, `abort()` or an error, and must be
 * brought to one of them (`await using` aborts what is not finished). Both directions have back-pressure: `write`
 * resolves when the transport takes more, and a reader that lags by more than a buffer stops the whole connection from
 * being read. Give bulk transfers a connection of their own.
 */
export class LibvirtStream<Result = void> implements AsyncIterable<Uint8Array>, AsyncDisposable {
  /** What the call that opened the stream returned. */
  readonly result: Result;
  readonly #port: StreamPort;
  readonly #over: PromiseWithResolvers<void> = Promise.withResolvers<void>();
  #state: State = { kind: "open" };
  #queue: StreamChunk[] = [];
  #queuedBytes = 0;
  #held = false;
  #eof = false;
  #wake: (() => void) | undefined;

  /** Made by the connection when the daemon opened the stream. */
  constructor(port: StreamPort, result: Result) {
    this.#port = port;
    this.result = result;
    this.#over.promise.catch(() => undefined);
  }

  /**
   * Sends bytes; the daemon confirms none of them before `finish`. An abort in mid-way aborts the stream.
   * Rejects with the daemon's error once it refused some. One writer at a time.
   */
  async write(data: Uint8Array, { signal }: CallOptions = {}): Promise<void> {
    for (let at = 0; at < data.length; at += streamDataLimit) {
      this.#assertOpen();
      this.#port.sendData(data.subarray(at, at + streamDataLimit));
      await this.#orAbort(this.#port.drained(), signal);
    }
  }

  /** Sends a hole of `length` bytes: only on a stream that was opened as sparse. */
  async writeHole(length: bigint, { signal }: CallOptions = {}): Promise<void> {
    this.#assertOpen();
    this.#port.send(MessageType.streamHole, MessageStatus.continue, (to) => StreamHole.write(to, { length, flags: 0 }));
    await this.#orAbort(this.#port.drained(), signal);
  }

  /** Ends the stream in order. Resolves when the daemon has taken everything; rejects with its error otherwise. Idempotent. */
  async finish({ signal }: CallOptions = {}): Promise<void> {
    if (this.#state.kind === "open") this.#end("finishing", MessageStatus.ok);
    await this.#orAbort(this.#over.promise, signal);
  }

  /** Gives the stream up. Resolves when the daemon has dropped it. Idempotent; never rejects. */
  async abort(): Promise<void> {
    if (this.#state.kind === "open") this.#end("aborting", MessageStatus.error);
    this.#dropQueue();
    await this.#over.promise.catch(() => undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.abort();
  }

  /** The received bytes, holes as zeros; finishes the stream at its end and aborts it when iteration is left early. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of this.chunks()) {
      if (chunk.kind === "data") {
        yield chunk.data;
        continue;
      }
      for (let left = chunk.length; left > 0n; left -= BigInt(zeros.length)) {
        yield left < zeros.length ? zeros.subarray(0, Number(left)) : zeros;
      }
    }
  }

  /** As iterating the stream, with holes as such. Rejects with `signal.reason` on abort. One reader. */
  async *chunks({ signal }: CallOptions = {}): AsyncGenerator<StreamChunk, void, undefined> {
    let whole = false;
    try {
      for (;;) {
        signal?.throwIfAborted();
        const chunk = this.#queue.shift();
        if (chunk) {
          this.#queuedBytes -= chunk.kind === "data" ? chunk.data.length : 0;
          if (this.#held && this.#queuedBytes * 2 <= this.#port.bufferBytes) this.#hold(false);
          yield chunk;
        } else if (this.#state.kind === "failed") {
          throw this.#state.error;
        } else if (this.#eof || this.#state.kind !== "open") {
          await this.finish({ signal });
          whole = true;
          return;
        } else {
          await raceAbort(new Promise<void>((resolve) => (this.#wake = resolve)), signal);
        }
      }
    } finally {
      if (!whole) await this.abort();
    }
  }

  /** A message of the daemon for this stream. Throws `LibvirtError("protocol")` for what a stream does not allow. */
  receive({ header, payload }: Frame): void {
    if (header.status === MessageStatus.error) {
      this.#settle({ kind: "failed", error: remoteError(this.#port.procedure, decode(ErrorReply, payload)) });
    } else if (header.status === MessageStatus.ok) {
      if (this.#state.kind === "open") throw new LibvirtError("protocol", `${this.#port.procedure}: a confirmation of what was not asked`);
      this.#settle({ kind: "done" });
    } else if (header.type === MessageType.streamHole) {
      this.#enqueue({ kind: "hole", length: decode(StreamHole, payload).length });
    } else if (payload.length === 0) {
      this.#eof = true;
      this.#wake?.();
    } else {
      this.#enqueue({ kind: "data", data: payload });
    }
  }

  /** The connection is gone. */
  fail(error: Error): void {
    this.#settle({ kind: "failed", error });
  }

  #enqueue(chunk: StreamChunk): void {
    if (this.#state.kind === "aborting") return;
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.kind === "data" ? chunk.data.length : 0;
    if (!this.#held && this.#queuedBytes > this.#port.bufferBytes) this.#hold(true);
    this.#wake?.();
  }

  #hold(held: boolean): void {
    this.#held = held;
    this.#port.hold(held);
  }

  #dropQueue(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
    if (this.#held) this.#hold(false);
    this.#wake?.();
  }

  #end(kind: "finishing" | "aborting", status: number): void {
    this.#state = { kind };
    this.#port.send(MessageType.stream, status, () => undefined);
    this.#wake?.();
  }

  #settle(state: State & { readonly kind: "done" | "failed" }): void {
    if (this.#state.kind === "done" || this.#state.kind === "failed") return;
    const aborting = this.#state.kind === "aborting";
    this.#state = state;
    this.#port.ended();
    if (aborting) this.#dropQueue();
    if (state.kind === "failed" && !aborting) this.#over.reject(state.error);
    else this.#over.resolve();
    this.#wake?.();
  }

  #assertOpen(): void {
    if (this.#state.kind === "failed") throw this.#state.error;
    if (this.#state.kind !== "open") throw new LibvirtError("closed", `${this.#port.procedure}: the stream has ended`);
  }

  /** Waits for `promise` and for nothing that an end of the stream makes impossible; an abort of `signal` aborts the stream. */
  async #orAbort(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
    try {
      await raceAbort(Promise.race([promise, this.#over.promise]), signal);
    } catch (error) {
      if (signal?.aborted) void this.abort();
      throw error;
    }
  }
}
