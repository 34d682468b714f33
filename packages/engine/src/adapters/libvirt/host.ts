import { createHash } from "node:crypto";
import { abortReason, anySignal, describeError, raceAbort } from "@godwit/core";
import {
  connect,
  type Connection,
  type Domain,
  isLibvirtError,
  type KeepaliveOptions,
  LibvirtError,
  parseUri,
  UriError,
} from "@godwit/libvirt";
import type { Log } from "../../inventory/log.ts";
import { EngineError } from "../../model/errors.ts";
import type { HostFacts, HostRecord, PoolFacts } from "../../model/host.ts";
import type { VmFacts } from "../../model/vm.ts";
import type { HostEvent, HypervisorHost } from "../../ports/hypervisor.ts";
import type { HostShell } from "../../ports/shell.ts";
import { AccelerationProber } from "./acceleration.ts";
import { engineError } from "./errors.ts";
import { HostEvents } from "./events.ts";
import { FactsReader, nativeGuest, type ShellFacts } from "./facts.ts";
import { readPools } from "./pools.ts";
import { readSystem } from "./shell-facts.ts";
import { VmReader } from "./vm-reader.ts";

export interface OpenLibvirtHost {
  readonly record: Pick<HostRecord, "name" | "uri">;
  /** Cancels opening; the connection itself is not bound to it. */
  readonly signal: AbortSignal;
  /** For what libvirt does not tell. Stays the caller's. */
  readonly shell?: HostShell | undefined;
  /** Default: lost after 8 s of silence. */
  readonly keepalive?: KeepaliveOptions;
  readonly connectMs?: number;
  /** Share one between all hosts, so that each boot of a machine is probed once. */
  readonly prober?: AccelerationProber;
  readonly log: Log;
}

const defaultKeepalive: KeepaliveOptions = { intervalMs: 2000, count: 3 };
/** The first question for facts waits this long for a shell; later ones have its answer. */
const SHELL_GRACE_MS = 500;

/** Opens a connection to a libvirt daemon. Throws `host-lost` with the reason, `invalid` for a URI that is none, or `signal.reason`; nothing stays open then. */
export async function openLibvirtHost(options: OpenLibvirtHost): Promise<LibvirtHost> {
  await using stack = new AsyncDisposableStack();
  try {
    const connection = stack.use(await dial(options, options.signal));
    const facts = new FactsReader(connection);
    const capabilities = await facts.capabilities(options.signal);
    const uuid = capabilities.uuid ?? (await derivedUuid(connection, options));
    const warn = (text: string): void => options.log.warn({ host: options.record.name }, text);
    const vms = new VmReader(connection, warn);
    const sink = { definitionChanged: (id: string) => vms.changed(id), overflow: () => vms.allChanged() };
    const events = await HostEvents.open(connection, sink, (text) => options.log.debug({ host: options.record.name }, text));
    stack.move();
    return new LibvirtHost({ ...options, connection, uuid, facts, vms, events });
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof UriError) throw new EngineError("invalid", `${options.record.uri} is not a libvirt URI`, {}, { cause: error });
    throw engineError(unreachable(error), `connecting to ${options.record.uri}`);
  }
}

function dial({ record, keepalive, connectMs }: OpenLibvirtHost, signal: AbortSignal): Promise<Connection> {
  return connect(record.uri, { keepalive: keepalive ?? defaultKeepalive, connectTimeoutMs: connectMs ?? 10_000, signal });
}

/** While connecting, also a refusal means that the host cannot be asked. */
function unreachable(error: unknown): unknown {
  if (error instanceof LibvirtError && !isLibvirtError(error)) return error;
  return new LibvirtError("connection-lost", describeError(error), {}, { cause: error });
}

/** The test driver has no UUID of its host: the daemon's host and the driver's URI stand for one. */
async function derivedUuid(connection: Connection, { record, signal }: OpenLibvirtHost): Promise<string> {
  const hostname = await connection.remote.connectGetHostname({ signal });
  const digest = createHash("sha256")
    .update(`${hostname}\n${parseUri(record.uri).driverUri}`)
    .digest();
  digest[6] = (digest[6]! & 0x0f) | 0x80;
  digest[8] = (digest[8]! & 0x3f) | 0x80;
  return digest.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

interface Parts extends OpenLibvirtHost {
  readonly connection: Connection;
  readonly uuid: string;
  readonly facts: FactsReader;
  readonly vms: VmReader;
  readonly events: HostEvents;
}

/** A connection to one libvirt daemon. */
export class LibvirtHost implements HypervisorHost {
  readonly uuid: string;
  readonly closed: Promise<Error | undefined>;
  /** For what this class does not do. The daemon answers it as it answers us: no more than four calls at once. */
  readonly connection: Connection;
  readonly #parts: Parts;
  readonly #over = new AbortController();
  #shellFacts: Promise<ShellFacts> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.uuid = parts.uuid;
    this.connection = parts.connection;
    this.closed = parts.connection.closed.then((reason) => {
      this.#over.abort(new EngineError("host-lost", "the connection is closed", {}, reason && { cause: reason }));
      return reason && new EngineError("host-lost", `the connection to ${parts.record.name} was lost`, {}, { cause: reason });
    });
  }

  /** A further connection to the same daemon, for calls that take long: they would keep ours from being read. */
  async openConnection({ signal }: { readonly signal: AbortSignal }): Promise<Connection> {
    return await this.#ask("opening another connection", signal, (signal) => dial(this.#parts, signal));
  }

  /** The domain as libvirt names it. Throws `not-found`. */
  async lookup(vmId: string, { signal }: { readonly signal: AbortSignal }): Promise<Domain> {
    return await this.#ask(`VM ${vmId}`, signal, (signal) => this.connection.remote.domainLookupByUuid({ uuid: vmId }, { signal }));
  }

  async facts({ signal }: { readonly signal: AbortSignal }): Promise<HostFacts> {
    return await this.#ask("reading the host's facts", signal, async (signal) => {
      const shell = await this.#fromShell(signal);
      return await this.#parts.facts.read(this.uuid, shell, signal);
    });
  }

  async listVms({ signal }: { readonly signal: AbortSignal }): Promise<VmFacts[]> {
    return await this.#ask("listing VMs", signal, (signal) => this.#parts.vms.list(signal));
  }

  async vm(id: string, { signal }: { readonly signal: AbortSignal }): Promise<VmFacts> {
    return await this.#ask(`reading VM ${id}`, signal, (signal) => this.#parts.vms.one(id, signal));
  }

  async pools({ signal }: { readonly signal: AbortSignal }): Promise<PoolFacts[]> {
    return await this.#ask("reading storage pools", signal, (signal) => readPools(this.connection, signal));
  }

  async *events({ signal }: { readonly signal: AbortSignal }): AsyncGenerator<HostEvent, void, undefined> {
    const { events } = this.#parts;
    const onAbort = (): void => events[Symbol.dispose]();
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    yield* events;
    signal.throwIfAborted();
  }

  async start(id: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await this.#act(`starting VM ${id}`, id, signal, (dom, signal) =>
      this.connection.remote.domainCreateWithFlags({ dom, flags: 0 }, { signal }),
    );
  }

  async shutdown(id: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await this.#act(`shutting VM ${id} down`, id, signal, (dom, signal) =>
      this.connection.remote.domainShutdownFlags({ dom, flags: 0 }, { signal }),
    );
  }

  async turnOff(id: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await this.#act(`turning VM ${id} off`, id, signal, (dom, signal) =>
      this.connection.remote.domainDestroyFlags({ dom, flags: 0 }, { signal }),
    );
  }

  /** Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new EngineError("host-lost", "the connection was closed"));
    this.#parts.events[Symbol.dispose]();
    await this.connection.close();
  }

  async #act(what: string, id: string, signal: AbortSignal, call: (dom: Domain, signal: AbortSignal) => Promise<unknown>): Promise<void> {
    await this.#ask(what, signal, async (signal) => call(await this.lookup(id, { signal }), signal));
  }

  async #ask<T>(what: string, signal: AbortSignal, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const both = anySignal(signal, this.#over.signal);
    if (both.aborted) throw abortReason(both);
    try {
      return await call(both);
    } catch (error) {
      if (both.aborted) throw abortReason(both);
      throw engineError(error, `${this.#parts.record.name}: ${what}`);
    }
  }

  /** Asked once for a connection, in the background: a shell may be slow or out of reach, the daemon is not. */
  async #fromShell(signal: AbortSignal): Promise<ShellFacts> {
    this.#shellFacts ??= this.#readShell();
    const grace = AbortSignal.timeout(SHELL_GRACE_MS);
    try {
      return await raceAbort(this.#shellFacts, anySignal(signal, grace));
    } catch (error) {
      if (!grace.aborted || signal.aborted) throw error;
      return { acceleration: { kind: "unknown", evidence: "none", text: "being tried" } };
    }
  }

  async #readShell(): Promise<ShellFacts> {
    const { shell, prober = new AccelerationProber(), facts, record, log } = this.#parts;
    const { signal } = this.#over;
    const capabilities = await facts.capabilities(signal);
    const guest = nativeGuest(capabilities);
    const version = await this.connection.remote.connectGetVersion({ signal }).catch(() => 0n);
    const [acceleration, system] = await Promise.all([
      prober.probe(
        { shell, arch: capabilities.arch, emulator: guest?.emulator, domainTypes: guest?.domainTypes ?? [], version: `${version}` },
        signal,
      ),
      shell &&
        readSystem(shell, signal).catch((error: unknown) => {
          if (!signal.aborted) log.warn({ host: record.name }, `no facts from the host's shell: ${describeError(error)}`);
          this.#shellFacts = undefined; // Asked again with the next facts.
          return undefined;
        }),
    ]);
    return { acceleration, ...system };
  }
}
