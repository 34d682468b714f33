import type { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";
import { createServer, type TLSSocket } from "node:tls";
import { closed } from "../error.ts";
import { ByteReader } from "../protocol/byte-reader.ts";
import { Listeners } from "../protocol/listeners.ts";
import { Outbox } from "../protocol/outbox.ts";
import { type NbdCredentials, serverTls, tlsError } from "../tls.ts";

/** Bytes of requests that are held before the client is made to wait. */
const HIGH_WATER = 256 << 10;

/** A client's connection as bytes, with back-pressure on what it sends. */
export class ServerChannel {
  reader!: ByteReader;
  #stream!: Duplex;
  #outbox!: Outbox;
  #listeners!: Listeners;
  #ended: Error | undefined;
  #onClose: ((cause: Error) => void)[] = [];

  constructor(stream: Duplex) {
    this.#adopt(stream);
  }

  get open(): boolean {
    return this.#ended === undefined;
  }

  onClose(listener: (cause: Error) => void): void {
    if (this.#ended) listener(this.#ended);
    else this.#onClose.push(listener);
  }

  /** Sends `bytes`; they must not change before `sent` is called, which it always is. */
  send(bytes: Uint8Array, sent?: () => void): void {
    this.#outbox.send(bytes, sent);
  }

  /** Resolves when everything sent so far is with the kernel, or the connection gone. */
  sent(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#outbox.send(new Uint8Array(), resolve);
    return promise;
  }

  /** Goes on in TLS. Whatever the client sent before must have been read. */
  async startTls(credentials: NbdCredentials): Promise<void> {
    if (this.reader.buffered > 0) throw tlsError("the client sent plain text after it asked for TLS");
    this.#outbox.flush();
    const plain = this.#stream;
    this.#listeners.off();
    // A TLS server that never listens does the handshake and checks certificates as it would for its own clients.
    const server = createServer(serverTls(credentials));
    const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
    server.once("secureConnection", resolve).once("tlsClientError", reject);
    plain.once("close", () => reject(closed("the client left during the TLS handshake")));
    (server as EventEmitter).emit("connection", plain);
    try {
      this.#adopt(await promise);
    } catch (error) {
      plain.destroy();
      this.#fail(tlsError("the TLS handshake with an NBD client failed", error));
      throw this.#ended!;
    }
  }

  /** Sends what is queued, then ends; resolves when the connection is gone, at the latest after `ms`. */
  async finish(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.onClose(() => resolve());
    this.#outbox.flush();
    this.#stream.end();
    // What the client still sends is of no interest, but its end of the connection is.
    this.#stream.resume();
    const timer = setTimeout(() => this.destroy(closed("the client did not hang up")), ms);
    await promise;
    clearTimeout(timer);
  }

  destroy(cause: Error): void {
    this.#stream.destroy();
    this.#fail(cause);
  }

  #adopt(stream: Duplex): void {
    this.#stream = stream;
    this.#outbox = new Outbox(stream);
    this.reader = new ByteReader(HIGH_WATER, stream);
    this.#listeners = new Listeners(stream)
      .on("data", (chunk: Uint8Array) => this.reader.push(chunk))
      .on("end", () => this.reader.closed(closed("the client hung up")))
      .on("error", (error: Error) => this.#fail(closed("the connection of the NBD client broke", {}, error)))
      .on("close", () => this.#fail(closed("the client hung up")));
  }

  #fail(cause: Error): void {
    this.#ended ??= cause;
    this.reader.closed(this.#ended);
    for (const listener of this.#onClose.splice(0)) listener(this.#ended);
  }
}
