import { abortReason, type ErrorContext, toError } from "@godwit/core";
import { closed, NbdError } from "../error.ts";
import { COMMAND } from "../protocol/constants.ts";
import { encodeRequest, requestLength } from "../protocol/request.ts";
import { resolveClientTls, type NbdTlsOptions } from "../tls.ts";
import { formatAddress, type NbdTarget } from "../uri.ts";
import { handshake, type HandshakeOptions, type NbdExportInfo } from "./handshake.ts";
import { COOKIE_HIGH, type ReplyHandler, ReplyReader } from "./reply-reader.ts";
import { type Request, type StatusChunks, Transaction } from "./transaction.ts";
import { Wire } from "./wire.ts";

/** Requests under way on one connection; more wait their turn. */
const IN_FLIGHT = 64;
/**
 * How long a cancelled request whose buffer the kernel may still touch may wait for the server to get over
 * it, before the connection is given up: the caller gets its buffer back in either case.
 */
const LET_GO_MS = 1000;
/** How long a polite goodbye may take. */
const GOODBYE_MS = 1000;

export interface ConnectionOptions extends Omit<HandshakeOptions, "target" | "tls"> {
  readonly target: NbdTarget;
  readonly tls?: NbdTlsOptions | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Connects a wire and runs `handshake` on it; on failure or abort nothing is left behind. */
export async function withWire<T>(options: ConnectionOptions, run: (wire: Wire, tls: NbdTlsOptions | undefined) => Promise<T>): Promise<T> {
  const { target, signal } = options;
  const tls = await resolveClientTls(target, options.tls);
  const wire = await Wire.connect(target.address, { direct: !tls, signal });
  const onAbort = (): void => wire.destroy(abortReason(signal!));
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    return await run(wire, tls);
  } catch (error) {
    const cause = signal?.aborted ? abortReason(signal) : toError(error);
    wire.destroy(cause);
    throw cause;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** One connection in the transmission phase, with many requests under way. */
export class NbdConnection implements ReplyHandler {
  readonly info: NbdExportInfo;
  readonly #wire: Wire;
  readonly #reader: ReplyReader;
  readonly #context: ErrorContext;
  readonly #inFlight = new Map<number, Transaction>();
  readonly #waiting: (() => void)[] = [];
  /** Cancelled requests whose buffers are still in use, and what to do once they are not. */
  readonly #holding = new Map<Transaction, () => void>();
  readonly #gone = Promise.withResolvers<void>();
  #nextCookie = 1;
  #ended: Error | undefined;

  constructor(wire: Wire, info: NbdExportInfo, context: ErrorContext) {
    this.info = info;
    this.#wire = wire;
    this.#context = context;
    this.#reader = new ReplyReader(info.replies, this);
    wire.attach(this.#reader);
  }

  static open(options: ConnectionOptions): Promise<NbdConnection> {
    const { target } = options;
    return withWire(options, async (wire, tls) => {
      const info = await handshake(wire, { ...options, tls });
      return new NbdConnection(wire, info, { server: formatAddress(target.address), export: target.exportName });
    });
  }

  /** How busy it is. */
  get load(): number {
    return this.#inFlight.size + this.#waiting.length;
  }

  get usable(): boolean {
    return this.#ended === undefined;
  }

  /**
   * Sends a request that fits the export, and waits for its reply. Rejects with `signal.reason` on abort;
   * the buffers are the caller's again once the promise settles, whichever way.
   */
  async submit(request: Request, signal: AbortSignal | undefined): Promise<StatusChunks> {
    signal?.throwIfAborted();
    while (this.#inFlight.size >= IN_FLIGHT && !this.#ended) await this.#turn(signal);
    if (this.#ended) throw this.#lost(this.#ended);
    const transaction = new Transaction(this.#cookie(), request);
    this.#inFlight.set(transaction.cookie, transaction);
    this.#send(transaction);
    const onAbort = (): void => this.#abandon(transaction, abortReason(signal!));
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await transaction.result.promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Says goodbye; requests under way fail. */
  async close(): Promise<void> {
    const reason = closed("the NBD connection was closed", this.#context);
    const leaving = this.#ended !== undefined;
    const busy = this.#inFlight.size > 0 || this.#holding.size > 0;
    this.#fail(reason);
    if (busy) this.#wire.destroy(reason);
    else if (!leaving) this.#goodbye();
    await this.#gone.promise;
  }

  // What the reply reader tells us.

  find(cookie: number): Transaction | undefined {
    return this.#inFlight.get(cookie);
  }

  finished(transaction: Transaction): void {
    this.#inFlight.delete(transaction.cookie);
    this.#waiting.shift()?.();
    if (transaction.errno === "ESHUTDOWN" && !this.#ended) this.#ended = closed("the NBD server is shutting down", this.#context);
    // After ESHUTDOWN we must leave, politely (proto.md, "Terminating the transmission phase").
    if (this.#ended && this.#inFlight.size === 0) this.#goodbye();
  }

  released(transaction: Transaction): void {
    if (!transaction.sending) this.#letGo(transaction);
  }

  closed(cause: Error): void {
    this.#fail(cause);
    this.#gone.resolve();
  }

  #cookie(): number {
    const cookie = this.#nextCookie;
    this.#nextCookie = cookie === 0xffff_ffff ? 1 : cookie + 1;
    return this.#inFlight.has(cookie) ? this.#cookie() : cookie;
  }

  async #turn(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      const at = this.#waiting.indexOf(resolve);
      if (at >= 0) this.#waiting.splice(at, 1);
      reject(abortReason(signal!));
    };
    this.#waiting.push(resolve);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await promise;
      if (signal?.aborted) {
        this.#waiting.shift()?.();
        throw abortReason(signal);
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #send(transaction: Transaction): void {
    const { command, flags, offset, length, payload } = transaction.request;
    const extended = this.info.replies === "extended";
    const header = Buffer.allocUnsafe(requestLength(extended));
    encodeRequest(
      header,
      { type: COMMAND[command], flags, cookieHigh: COOKIE_HIGH, cookieLow: transaction.cookie, offset, length },
      extended,
    );
    this.#wire.send(header);
    if (!payload) return;
    transaction.sending = true;
    this.#wire.send(payload, () => {
      transaction.sending = false;
      this.#letGo(transaction);
    });
  }

  #abandon(transaction: Transaction, reason: Error): void {
    transaction.abandoned = true;
    const { reject } = transaction.result;
    const inUse = transaction.sending || (this.#wire.direct && this.#reader.pinned === transaction);
    if (!inUse) return reject(reason);
    const stalled = closed("the NBD server stalled in the middle of a cancelled request", { ...this.#context, ...transaction.context() });
    const timer = setTimeout(() => this.#wire.destroy(stalled), LET_GO_MS);
    this.#holding.set(transaction, () => {
      clearTimeout(timer);
      reject(reason);
    });
  }

  #letGo(transaction: Transaction): void {
    this.#holding.get(transaction)?.();
    this.#holding.delete(transaction);
  }

  #fail(cause: Error): void {
    this.#ended ??= cause;
    for (const transaction of this.#inFlight.values()) {
      if (!transaction.abandoned) transaction.result.reject(this.#lost(cause, transaction.context()));
    }
    this.#inFlight.clear();
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #lost(cause: Error, context: ErrorContext = {}): NbdError {
    const kind = cause instanceof NbdError ? cause.kind : "io";
    const reason = cause instanceof NbdError ? cause.reason : "closed";
    return new NbdError(
      kind,
      "the request was lost with its NBD connection",
      { reason, context: { ...this.#context, ...context } },
      { cause },
    );
  }

  #goodbye(): void {
    const extended = this.info.replies === "extended";
    const header = Buffer.alloc(requestLength(extended));
    encodeRequest(header, { type: COMMAND.disconnect, flags: 0, cookieHigh: COOKIE_HIGH, cookieLow: 0, offset: 0, length: 0 }, extended);
    this.#wire.send(header);
    this.#wire.end();
    const timer = setTimeout(() => this.#wire.destroy(this.#ended!), GOODBYE_MS);
    void this.#gone.promise.then(() => clearTimeout(timer));
  }
}
