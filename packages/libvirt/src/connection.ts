import { type Clock, systemClock, withDeadline } from "@godwit/core";
import { type Authenticator, withoutCredentials } from "./auth.ts";
import { ConnectFlags } from "./constants/host.ts";
import { isLibvirtError, LibvirtError } from "./errors.ts";
import { QemuProgram } from "./protocol/generated/qemu.ts";
import { RemoteProgram } from "./protocol/generated/remote.ts";
import { Session, type SessionOptions, type SessionState } from "./rpc/session.ts";
import type { Transport } from "./transport/transport.ts";

export interface ConnectOptions extends SessionOptions {
  /** What the daemon's drivers may not change when true: uses `VIR_CONNECT_RO`. Default false. */
  readonly readOnly?: boolean;
  /** Default: none and polkit, which need no credentials. */
  readonly authenticator?: Authenticator;
  /** Milliseconds for authenticating and opening. Default 30,000. */
  readonly openTimeoutMs?: number;
  /** Cancels opening; the connection itself is not bound to it. */
  readonly signal?: AbortSignal | undefined;
}

export interface ConnectOverOptions extends ConnectOptions {
  /** Which of its drivers the daemon shall use: `qemu:///system`, `test:///default`. Null: the daemon chooses. */
  readonly driverUri: string | null;
}

/** virDrvFeature numbers that `connectSupportsFeature` takes (src/libvirt_internal.h). */
const feature = { keepalive: 10, closeCallback: 15 } as const;

/** An open connection to one driver of one daemon. */
export class Connection implements AsyncDisposable {
  /** Every call of the "remote" program, by name. */
  readonly remote: RemoteProgram;
  /** What only the QEMU driver answers: its monitor and guest agent. */
  readonly qemu: QemuProgram;
  readonly #session: Session;
  readonly #clock: Clock;

  /** Use {@link connect} or {@link connectOver}. */
  constructor(session: Session, clock: Clock) {
    this.#session = session;
    this.#clock = clock;
    this.remote = new RemoteProgram(session);
    this.qemu = new QemuProgram(session);
  }

  /** For messages: how the daemon is reached. Never secret. */
  get description(): string {
    return this.#session.transport.description;
  }

  get state(): SessionState {
    return this.#session.state;
  }

  /** Resolves when the connection is over: with the reason, or with undefined after {@link close}. */
  get closed(): Promise<LibvirtError | undefined> {
    return this.#session.closed;
  }

  /**
   * Says goodbye (for at most a second) and closes. Calls that are under way fail with kind `closed`; whether the daemon
   * carries them out is unknown. Idempotent; never rejects because the connection was lost before.
   */
  async close(): Promise<void> {
    this.#session.beginClosing();
    if (this.#session.state.kind === "closing") {
      await goodbye(this.remote, this.#clock).catch(() => undefined);
    }
    await this.#session.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function goodbye(remote: RemoteProgram, clock: Clock): Promise<void> {
  const stop = new AbortController();
  try {
    await Promise.race([remote.connectClose(), clock.sleep(1000, { signal: stop.signal })]);
  } finally {
    stop.abort();
  }
}

/**
 * Opens a connection over a transport that is already there, and takes the transport over: it is closed when opening
 * fails. Throws `LibvirtError` of kind `auth`, `timeout`, `connection-lost`, `protocol` or, when the daemon refuses the
 * driver, `libvirt`.
 */
export async function connectOver(transport: Transport, options: ConnectOverOptions): Promise<Connection> {
  const clock = options.clock ?? systemClock;
  const session = new Session(transport, options);
  const limit = options.openTimeoutMs ?? 30_000;
  const late = (): Error => new LibvirtError("timeout", `${transport.description}: not open after ${limit} ms`, { timeoutMs: limit });
  try {
    const connection = new Connection(session, clock);
    await withDeadline(limit, late, options.signal, (signal) => open(session, connection.remote, options, signal));
    return connection;
  } catch (error) {
    await session.close();
    throw error;
  }
}

/** The opening sequence, in the order of libvirt's own client. */
async function open(session: Session, remote: RemoteProgram, options: ConnectOverOptions, signal: AbortSignal): Promise<void> {
  const types = await remote.authList({ signal });
  if (types.length > 0 && !types.includes("none")) {
    const authenticator = options.authenticator ?? withoutCredentials;
    await authenticator.authenticate(types, { remote, transport: session.transport, signal });
  }
  if (await supports(remote, feature.keepalive, signal)) session.startKeepalive();
  await remote.connectOpen({ name: options.driverUri, flags: options.readOnly === true ? ConnectFlags.RO : 0 }, { signal });
  if (await supports(remote, feature.closeCallback, signal)) {
    await remote.connectRegisterCloseCallback({ signal });
  }
}

async function supports(remote: RemoteProgram, feature: number, signal: AbortSignal): Promise<boolean> {
  try {
    return (await remote.connectSupportsFeature({ feature }, { signal })) !== 0;
  } catch (error) {
    if (isLibvirtError(error)) return false;
    throw error;
  }
}
