import { connect as connectSocket, type NetConnectOpts } from "node:net";
import type { Duplex } from "node:stream";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { abortReason, toError } from "@godwit/core";
import { closed, malformed, NbdError } from "../error.ts";
import type { Receiver } from "../protocol/byte-reader.ts";
import { Listeners } from "../protocol/listeners.ts";
import { Outbox } from "../protocol/outbox.ts";
import { tlsError } from "../tls.ts";
import { formatAddress, type NbdAddress, type NbdDialled } from "../uri.ts";

/**
 * A connection as bytes. A `direct` wire lets the kernel put received bytes where its receiver says, so
 * that a read lands in the caller's buffer without a copy; others (TLS) copy once.
 */
export class Wire {
  readonly direct: boolean;
  #stream: Duplex;
  #receiver: Receiver | undefined;
  /** The window the kernel may be writing to, and whose it is. */
  #given: { receiver: Receiver | undefined; window: Uint8Array } | undefined;
  #ended: Error | undefined;
  #outbox: Outbox;
  #listeners: Listeners | undefined;

  private constructor(stream: Duplex, direct: boolean) {
    this.#stream = stream;
    this.#outbox = new Outbox(stream);
    this.direct = direct;
  }

  /** Over any stream: TLS, or a pair in memory. */
  static over(stream: Duplex): Wire {
    const wire = new Wire(stream, false);
    wire.#listen();
    return wire;
  }

  /** Connects; rejects with `signal.reason` on abort. `direct` excludes TLS later on. */
  static async connect(address: NbdAddress, options: { direct: boolean; signal: AbortSignal | undefined }): Promise<Wire> {
    options.signal?.throwIfAborted();
    if ("open" in address) return await Wire.#dial(address, options.signal);
    let wire: Wire | undefined;
    const where: NetConnectOpts =
      "path" in address ? { path: address.path } : { host: address.host, port: address.port, autoSelectFamily: true };
    // The buffer is asked for once more after every read: that is how a window follows the parser.
    const onread = {
      buffer: () => wire?.nextWindow() ?? bootWindow,
      callback: (count: number, from: Uint8Array) => wire?.arrived(count, from) ?? true,
    };
    const socket = connectSocket(options.direct ? { ...where, onread } : where);
    wire = new Wire(socket, options.direct);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      socket.destroy();
      reject(abortReason(options.signal!));
    };
    options.signal?.addEventListener("abort", onAbort, { once: true });
    socket.once("connect", resolve).once("error", reject);
    try {
      await promise;
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new NbdError("io", `cannot connect to the NBD server at ${formatAddress(address)}`, { reason: "connect" }, { cause: error });
    } finally {
      options.signal?.removeEventListener("abort", onAbort);
      socket.off("error", reject);
    }
    socket.setNoDelay(true).setKeepAlive(true, 30_000);
    wire.#listen();
    return wire;
  }

  static async #dial(address: NbdDialled, signal: AbortSignal | undefined): Promise<Wire> {
    try {
      return Wire.over(await address.open({ signal }));
    } catch (error) {
      signal?.throwIfAborted();
      throw new NbdError("io", `cannot connect to the NBD server at ${address.name}`, { reason: "connect" }, { cause: error });
    }
  }

  /** From now on bytes go to `receiver`. */
  attach(receiver: Receiver): void {
    this.#receiver = receiver;
    if (this.#ended) receiver.closed(this.#ended);
  }

  /** Goes on in TLS; whatever arrived before must have been read. */
  async startTls(options: ConnectionOptions): Promise<void> {
    const plain = this.#stream;
    this.#listeners?.off();
    plain.on("error", () => undefined);
    const secure = connectTls({ ...options, socket: plain });
    this.#stream = secure;
    this.#outbox = new Outbox(secure);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    secure.once("secureConnect", resolve).once("error", reject);
    secure.once("close", () => reject(this.#ended ?? closed("the server ended the connection during the TLS handshake")));
    try {
      await promise;
    } catch (error) {
      secure.destroy();
      throw this.#ended ?? tlsError("the TLS handshake with the NBD server failed", error);
    } finally {
      secure.off("error", reject);
    }
    this.#listen();
  }

  /**
   * Sends `bytes` with whatever else is sent in this turn of the event loop, in order. They must not change
   * before `sent` is called, which it always is, also when the connection fails.
   */
  send(bytes: Uint8Array, sent?: () => void): void {
    this.#outbox.send(bytes, sent);
  }

  /** Sends what is queued and then ends our direction. */
  end(): void {
    this.#outbox.flush();
    this.#stream.end();
  }

  /** No further byte is read or written once this returns, nor into any window. */
  destroy(cause: Error): void {
    this.#ended ??= cause;
    this.#stream.destroy();
    this.#finish();
  }

  /** For `onread` alone. */
  nextWindow(): Uint8Array {
    const receiver = this.#ended ? undefined : this.#receiver;
    const window = receiver ? receiver.window() : bootWindow;
    this.#given = { receiver, window };
    return window;
  }

  /** For `onread` alone. */
  arrived(count: number, from: Uint8Array): boolean {
    try {
      if (this.#ended) return false;
      const given = this.#given;
      if (given && given.window === from && given.receiver === this.#receiver && this.#receiver) this.#receiver.advance(count);
      else this.#copyIn(from.subarray(0, count));
    } catch (error) {
      this.destroy(toError(error));
    }
    return true;
  }

  #copyIn(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (!this.#receiver) throw malformed("the server speaks before it was asked");
      const window = this.#receiver.window();
      const count = Math.min(window.length, bytes.length - at);
      window.set(bytes.subarray(at, at + count));
      this.#receiver.advance(count);
      at += count;
    }
  }

  #listen(): void {
    const stream = this.#stream;
    this.#listeners = new Listeners(stream)
      .on("error", (error: Error) => {
        this.#ended ??= closed("the connection to the NBD server broke", {}, error);
      })
      .on("end", () => stream.destroy())
      .on("close", () => {
        this.#ended ??= closed("the NBD server closed the connection");
        this.#finish();
      });
    if (!this.direct) this.#listeners.on("data", (chunk: Uint8Array) => this.#received(chunk));
  }

  #received(chunk: Uint8Array): void {
    try {
      if (!this.#ended) this.#copyIn(chunk);
    } catch (error) {
      this.destroy(toError(error));
    }
  }

  #finish(): void {
    this.#outbox.flush();
    this.#receiver?.closed(this.#ended!);
  }
}

/** Where a direct wire's first bytes go when nobody listens yet. */
const bootWindow = Buffer.allocUnsafeSlow(4096);
