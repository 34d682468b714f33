import { type Clock, type Json, systemClock, toError, withDeadline } from "@godwit/core";
import { type Authenticator, withoutCredentials } from "./auth.ts";
import { ConnectCloseReason, ConnectFlags } from "./constants/host.ts";
import { isLibvirtError, LibvirtError } from "./errors.ts";
import { ConnectionEvents } from "./events/events.ts";
import { EventRouter } from "./events/router.ts";
import { QemuProgram } from "./protocol/generated/qemu.ts";
import { remoteEvents, RemoteProgram, remoteProgram } from "./protocol/generated/remote.ts";
import type { Domain } from "./protocol/generated/types.ts";
import type { CallOptions } from "./rpc/procedure.ts";
import { decode } from "./xdr/decoder.ts";
import { Session, type SessionOptions, type SessionState } from "./rpc/session.ts";
import type { Transport } from "./transport/transport.ts";
import { type TypedValue, typedParams } from "./typed-params.ts";

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

export interface DomainStatsQuery {
  /** Default: all domains. */
  readonly domains?: readonly Domain[];
  /** `DomainStatsTypes`, or 0 for every group that the driver has. */
  readonly stats?: number;
  /** `GetAllDomainStatsFlags`. */
  readonly flags?: number;
}

export interface DomainStats {
  readonly dom: Domain;
  readonly stats: Readonly<Record<string, TypedValue>>;
}

/** virDrvFeature numbers that `connectSupportsFeature` takes (src/libvirt_internal.h). */
const feature = { keepalive: 10, closeCallback: 15 } as const;

/** An open connection to one driver of one daemon. */
export class Connection implements AsyncDisposable {
  /** Every call of the "remote" program, by name. */
  readonly remote: RemoteProgram;
  /** What only the QEMU driver answers: its monitor and guest agent. */
  readonly qemu: QemuProgram;
  /** What the daemon tells unasked. */
  readonly events: ConnectionEvents;
  readonly #session: Session;
  readonly #clock: Clock;

  /** Use {@link connect} or {@link connectOver}. */
  constructor(session: Session, clock: Clock) {
    this.#session = session;
    this.#clock = clock;
    this.remote = new RemoteProgram(session);
    this.qemu = new QemuProgram(session);
    const router = new EventRouter();
    this.events = new ConnectionEvents(this.remote, this.qemu, router);
    session.onMessage = (header, payload) => {
      const { number } = remoteEvents.connectEventConnectionClosed;
      if (header.program === remoteProgram.number && header.procedure === number) session.fail(hypervisorLost(session, payload));
      else router.route(header, payload);
    };
    void session.closed.then((error) =>
      router.fail(error ?? new LibvirtError("closed", `${session.transport.description}: the connection was closed here`)),
    );
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

  /** All domains, running or not, or those that `flags` (`ListDomainsFlags`) selects. */
  async listDomains(flags = 0, options: CallOptions = {}): Promise<readonly Domain[]> {
    return (await this.remote.connectListAllDomains({ needResults: 1, flags }, options)).domains;
  }

  /**
   * Statistics of many domains in one call, by libvirt's names (`cpu.time`, `block.0.rd.bytes`). A domain that goes away
   * meanwhile is left out; a busy one has what can be told without waiting only with `GetAllDomainStatsFlags.NOWAIT`.
   */
  async getAllDomainStats(query: DomainStatsQuery = {}, options: CallOptions = {}): Promise<readonly DomainStats[]> {
    const { domains = [], stats = 0, flags = 0 } = query;
    const records = await this.remote.connectGetAllDomainStats({ doms: domains, stats, flags }, options);
    return records.map(({ dom, params }) => ({ dom, stats: typedParams.decode(params) }));
  }

  /**
   * Runs a command of the guest agent, and resolves to what it returned. `timeoutSeconds` bounds the agent's answer (default 10):
   * libvirt alone would wait for ever for a guest that does not. Throws libvirt's `AGENT_UNRESPONSIVE`,
   * `AGENT_COMMAND_TIMEOUT` (since 8.0) or `AGENT_COMMAND_FAILED`.
   */
  async agentCommand(
    dom: Domain,
    command: { readonly execute: string; readonly arguments?: Json },
    options: CallOptions & { readonly timeoutSeconds?: number } = {},
  ): Promise<Json> {
    const args = { dom, cmd: JSON.stringify(command), timeout: options.timeoutSeconds ?? 10, flags: 0 };
    const text = await this.qemu.domainAgentCommand(args, options);
    try {
      return text === null ? null : (JSON.parse(text) as { readonly return: Json }).return;
    } catch (error) {
      const context = { domain: dom.name, command: command.execute };
      throw new LibvirtError("protocol", `${dom.name}: the guest agent's answer is not JSON`, context, { cause: toError(error) });
    }
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

const closeReasons = new Map<number, string>(Object.entries(ConnectCloseReason).map(([name, value]) => [value, name]));

/** The daemon is there, but what it forwards to is not: every further call would fail. */
function hypervisorLost(session: Session, payload: Buffer): LibvirtError {
  const { reason } = decode(remoteEvents.connectEventConnectionClosed.message, payload);
  const name = closeReasons.get(reason) ?? String(reason);
  return new LibvirtError("connection-lost", `${session.transport.description}: the daemon lost its hypervisor`, { reason: name });
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
