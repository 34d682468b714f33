import { createServer, type Server } from "node:net";
import { unlink } from "node:fs/promises";
import type { Duplex } from "node:stream";
import { toError, withDeadline, raceAbort } from "@godwit/core";
import { closed, NbdError, usage } from "../error.ts";
import { formatNbdUri, type NbdAddress } from "../uri.ts";
import { BufferPool, Budget } from "./budget.ts";
import { ServerChannel } from "./channel.ts";
import type { NbdExport } from "./export.ts";
import { type NbdServerTls, ServerNegotiation } from "./negotiation.ts";
import { ServedExport } from "./served-export.ts";
import { PIECE, Transmission } from "./transmission.ts";

/** What clients may ask of a server at most. */
export interface NbdServerLimits {
  /** Default: 128. */
  readonly clients: number;
  /** Requests under way, per client. Default: 64. */
  readonly requests: number;
  /** Bytes of buffers, per client; one request of up to 32 MiB always fits. Default: 32 MiB. */
  readonly bytes: number;
  /** Milliseconds until a client must be done with the handshake. Default: 30,000. */
  readonly handshakeMs: number;
  /** Milliseconds that requests under way get when the server stops. Default: 5,000. */
  readonly graceMs: number;
}

export interface NbdServeOptions {
  /** At least one; names must differ. */
  readonly exports: readonly NbdExport[];
  /** A Unix socket's path, which must not exist, or a host and a port (0: any free one). */
  readonly listen: NbdAddress;
  readonly tls?: NbdServerTls;
  readonly limits?: Partial<NbdServerLimits>;
  /** Stops the server as `close` does. */
  readonly signal?: AbortSignal | undefined;
  /** Told when a client broke the protocol, failed at TLS or took too long; for logs. */
  readonly onClientError?: (error: Error) => void;
}

const DEFAULT_LIMITS: NbdServerLimits = { clients: 128, requests: 64, bytes: 32 << 20, handshakeMs: 30_000, graceMs: 5000 };
/** How long a client may take to hang up after its goodbye. */
const HANG_UP_MS = 1000;

/** Listens, and serves until closed. */
export async function serveNbd(options: NbdServeOptions): Promise<NbdServer> {
  options.signal?.throwIfAborted();
  const server = new NbdServer(options);
  await server.listen();
  return server;
}

/** An NBD server. Close it before what it exports. */
export class NbdServer implements AsyncDisposable {
  readonly #options: NbdServeOptions;
  readonly #limits: NbdServerLimits;
  readonly #exports: ReadonlyMap<string, ServedExport>;
  readonly #server: Server;
  readonly #sessions = new Map<ServerChannel, Promise<void>>();
  readonly #buffers = new BufferPool(PIECE, 64);
  readonly #stop = new AbortController();
  readonly #onAbort = (): void => void this.close();
  #address: NbdAddress;
  #closing: Promise<void> | undefined;

  constructor(options: NbdServeOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#address = options.listen;
    this.#exports = new Map(options.exports.map((given) => [given.name, new ServedExport(given, this.#stop.signal)]));
    if (this.#exports.size !== options.exports.length || this.#exports.size === 0) {
      throw usage("unsupported", "an NBD server needs exports with different names", { names: options.exports.map(({ name }) => name) });
    }
    this.#server = createServer({ noDelay: true, keepAlive: true }, (socket) => this.accept(socket));
  }

  /** Where it listens; with the real port. */
  get address(): NbdAddress {
    return this.#address;
  }

  get clients(): number {
    return this.#sessions.size;
  }

  /** What a client on this machine (or one that can reach the host) connects to. */
  uri(exportName?: string): string {
    const name = exportName ?? [...this.#exports.keys()][0]!;
    return formatNbdUri({ address: this.#address, exportName: name, requireTls: this.#options.tls?.mode === "required" });
  }

  async listen(): Promise<void> {
    const { listen, signal } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen(listen, resolve);
    try {
      await promise;
    } catch (error) {
      throw new NbdError("io", "cannot listen for NBD clients", { reason: "connect" }, { cause: error });
    }
    const address = this.#server.address();
    if ("port" in listen && address !== null && typeof address === "object") this.#address = { host: listen.host, port: address.port };
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (signal?.aborted) await this.close();
  }

  /** Serves one client on any stream, as if it had connected. */
  accept(stream: Duplex): void {
    if (this.#closing || this.#sessions.size >= this.#limits.clients) {
      stream.on("error", () => undefined).destroy();
      return;
    }
    const channel = new ServerChannel(stream);
    const session = this.#serve(channel)
      .catch((error: unknown) => {
        channel.destroy(toError(error));
        const left = error instanceof NbdError && error.reason === "closed";
        if (!left && !this.#stop.signal.aborted) this.#options.onClientError?.(toError(error));
      })
      .finally(() => this.#sessions.delete(channel));
    this.#sessions.set(channel, session);
  }

  /** Takes no more clients and requests, lets those under way end within the grace time, and hangs up. */
  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    const reason = closed("the NBD server stopped");
    const stopped = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const channel of this.#sessions.keys()) channel.reader.closed(reason);
    const timer = setTimeout(() => {
      this.#stop.abort(reason);
      for (const channel of this.#sessions.keys()) channel.destroy(reason);
    }, this.#limits.graceMs);
    await Promise.all(this.#sessions.values());
    clearTimeout(timer);
    this.#stop.abort(reason);
    await stopped;
    // Node removes the socket's file; one that was moved meanwhile is not ours.
    if ("path" in this.#address && !this.#address.path.startsWith("\0")) await unlink(this.#address.path).catch(() => undefined);
  }

  async #serve(channel: ServerChannel): Promise<void> {
    const timeout = (): Error => new NbdError("protocol", "an NBD client did not finish the handshake in time", { reason: "malformed" });
    const negotiation = new ServerNegotiation(channel, this.#exports, this.#options.tls);
    const agreement = await withDeadline(this.#limits.handshakeMs, timeout, undefined, (signal) => raceAbort(negotiation.run(), signal));
    if (agreement) {
      const gone = new AbortController();
      channel.onClose((cause) => gone.abort(cause));
      const budget = new Budget(this.#limits);
      const reading = AbortSignal.any([gone.signal, this.#stop.signal]);
      const transmission = new Transmission({ channel, agreement, budget, buffers: this.#buffers, reading, writing: this.#stop.signal });
      try {
        await transmission.run();
      } finally {
        await budget.idle();
      }
    }
    await channel.finish(HANG_UP_MS);
  }
}
