import { anySignal, type Clock, describeError, isCancelled, raceAbort, toError, withDeadline } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { HostFacts, HostRecord, HostState, PoolFacts } from "../model/host.ts";
import type { Reason } from "../model/reason.ts";
import type { VmFacts } from "../model/vm.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";
import type { HostShell } from "../ports/shell.ts";
import { HostReader, type ReadingSink } from "./host-reader.ts";
import type { Log } from "./log.ts";
import { openWithin } from "./open-within.ts";
import { type InventoryTiming, retryDelay } from "./timing.ts";

export type OpenHost = (
  record: HostRecord,
  options: { readonly signal: AbortSignal; readonly shell: HostShell | undefined },
) => Promise<HypervisorHost>;

export interface LinkOptions {
  readonly openHost: OpenHost;
  readonly clock: Clock;
  readonly random: () => number;
  readonly timing: InventoryTiming;
  readonly log: Log;
  readonly shell: HostShell | undefined;
  /** Its state, facts or pools changed. */
  onChange(what: "host" | "pools"): void;
  /** The host became `up` or ceased to be, which says something new of all its VMs. */
  onReach(up: boolean): void;
  onVms(vms: readonly VmFacts[], askedAt: number): void;
  onVm(id: string, facts: VmFacts | undefined, askedAt: number): void;
}

const CLOSE_MS = 3_000;

/** One registered host: keeps a connection to it, for ever, and knows what it last said. */
export class HostLink implements AsyncDisposable {
  readonly record: HostRecord;
  readonly shell: HostShell | undefined;
  readonly #options: LinkOptions;
  readonly #stopped = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #reader: HostReader | undefined;
  #state: HostState = "connecting";
  #stateSince: number;
  #reason: Reason;
  #facts: HostFacts | undefined;
  #factsAt: number | undefined;
  #pools: readonly PoolFacts[] = [];

  constructor(record: HostRecord, options: LinkOptions) {
    this.record = record;
    this.shell = options.shell;
    this.#options = options;
    this.#stateSince = options.clock.now();
    this.#reason = { code: "connecting", text: `connecting to ${record.uri}` };
  }

  get state(): HostState {
    return this.#state;
  }

  get stateSince(): number {
    return this.#stateSince;
  }

  get reason(): Reason {
    return this.#reason;
  }

  get facts(): HostFacts | undefined {
    return this.#facts;
  }

  get factsAt(): number | undefined {
    return this.#factsAt;
  }

  get pools(): readonly PoolFacts[] {
    return this.#pools;
  }

  /** Starts the loop; `first` is a connection that is open already. It ends with `signal` or `stop`. */
  start(signal: AbortSignal, first?: HypervisorHost): void {
    this.#running = this.#loop(anySignal(signal, this.#stopped.signal), first);
  }

  /** Resolves when the connection and the shell are closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await this.#running;
    await this.shell?.[Symbol.asyncDispose]();
  }

  /** The connection; throws `host-lost` with the reason while there is none. */
  hypervisor(): HypervisorHost {
    return this.#connected().host;
  }

  refresh(vmId: string, signal: AbortSignal): Promise<VmFacts | undefined> {
    return this.#connected().refresh(vmId, signal);
  }

  /** Reads again soon, if it can; whoever needs the answer uses `refresh`. */
  nudge(vmId: string): void {
    this.#reader?.refresh(vmId, this.#stopped.signal).catch(() => undefined);
  }

  #connected(): HostReader {
    if (this.#reader && this.#state === "up") return this.#reader;
    throw new EngineError("host-lost", `host ${this.record.name} is ${this.#state}: ${this.#reason.text}`, { host: this.record.name });
  }

  async #loop(signal: AbortSignal, first: HypervisorHost | undefined): Promise<void> {
    let failures = 0;
    for (let host = first; !signal.aborted; host = undefined) {
      const { wasUp, closed } = await this.#attempt(host, signal);
      failures = wasUp ? 1 : failures + 1;
      const delay = retryDelay(failures, this.#options.timing.retryMs, this.#options.random);
      const slept = this.#options.clock.sleep(delay, { signal }).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
      await Promise.all([closed, slept]);
    }
  }

  /** One connection from its beginning to its end. Farewells to a host that does not answer take their time: `closed`. */
  async #attempt(first: HypervisorHost | undefined, signal: AbortSignal): Promise<{ wasUp: boolean; closed: Promise<void> | undefined }> {
    let host = first;
    let wasUp = false;
    try {
      host ??= await openWithin({
        timing: this.#options.timing,
        clock: this.#options.clock,
        signal,
        open: (signal) => this.#options.openHost(this.record, { signal, shell: this.shell }),
      });
      await this.#read(host, signal);
    } catch (error) {
      wasUp = this.#state === "up";
      if (!signal.aborted) this.#lose(toError(error), host !== undefined);
    }
    return { wasUp, closed: host && this.#close(host) };
  }

  async #close(host: HypervisorHost): Promise<void> {
    const late = (): Error => new EngineError("timeout", "the connection could not be closed in time");
    try {
      await withDeadline(CLOSE_MS, late, undefined, (signal) => raceAbort(Promise.resolve(host[Symbol.asyncDispose]()), signal));
    } catch (error) {
      this.#options.log.warn({ host: this.record.name }, describeError(error));
    }
  }

  /** Throws when the connection ends. */
  async #read(host: HypervisorHost, signal: AbortSignal): Promise<void> {
    if (host.uuid !== this.record.id) {
      const { name, uri, id } = this.record;
      throw new EngineError(
        "conflict",
        `${uri} is another machine now (${host.uuid} instead of ${id}); remove host ${name} and add it again`,
      );
    }
    const reader = new HostReader(host, {
      sink: this.#sink(),
      clock: this.#options.clock,
      timing: this.#options.timing,
      log: this.#options.log,
    });
    this.#reader = reader;
    try {
      await reader.run(signal);
    } finally {
      this.#reader = undefined;
    }
  }

  #sink(): ReadingSink {
    return {
      facts: (facts) => {
        this.#facts = facts;
        this.#factsAt = this.#options.clock.now();
        this.#options.onChange("host");
      },
      vms: (vms, askedAt) => this.#options.onVms(vms, askedAt),
      vm: (id, facts, askedAt) => this.#options.onVm(id, facts, askedAt),
      pools: (pools) => {
        this.#pools = pools;
        this.#options.onChange("pools");
      },
      up: () => {
        this.#options.log.info({ host: this.record.name }, "host is up");
        this.#setState("up", { code: "connected", text: `connected to ${this.record.uri}` });
      },
    };
  }

  #lose(error: Error, wasConnected: boolean): void {
    const text = isCancelled(error) ? "the attempt was cancelled" : describeError(error);
    const code =
      error instanceof EngineError && error.kind === "conflict" ? "other-machine" : wasConnected ? "connection-lost" : "unreachable";
    if (this.#state !== "lost" || this.#reason.text !== text) this.#options.log.warn({ host: this.record.name }, `host is lost: ${text}`);
    this.#setState("lost", { code, text });
  }

  #setState(state: HostState, reason: Reason): void {
    const before = this.#state;
    const same = before === state && this.#reason.text === reason.text;
    this.#state = state;
    this.#reason = reason;
    if (before !== state) this.#stateSince = this.#options.clock.now();
    if ((before === "up") !== (state === "up")) this.#options.onReach(state === "up");
    if (!same) this.#options.onChange("host");
  }
}
