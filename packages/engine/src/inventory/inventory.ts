import { type Clock, describeError, systemClock, withDeadline } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { HostRecord, HostView, PoolView, SshTarget } from "../model/host.ts";
import type { VmFacts, VmView } from "../model/vm.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";
import type { HostShell } from "../ports/shell.ts";
import type { Store } from "../ports/store.ts";
import { ChangeFeed, type InventoryChange } from "./changes.ts";
import { HostLink, type OpenHost } from "./host-link.ts";
import { type Log, noLog } from "./log.ts";
import { openWithin } from "./open-within.ts";
import { findHost, findVm } from "./lookup.ts";
import { defaultTiming, type InventoryTiming } from "./timing.ts";
import { type VmConflict, VmMap } from "./vm-map.ts";

export interface InventoryOptions {
  readonly store: Pick<Store, "hosts">;
  readonly openHost: OpenHost;
  /** Does not connect yet; undefined when there is no way to a shell. It is closed with the host's removal or `run`. */
  readonly openShell: (record: HostRecord) => HostShell | undefined;
  /** Throws when a host may not be removed now, for example because of a job. */
  readonly mayRemove?: (host: HostView) => void | Promise<void>;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly timing?: Partial<InventoryTiming>;
  readonly log?: Log;
}

export interface NewHost {
  readonly name: string;
  readonly uri: string;
  readonly ssh?: SshTarget | undefined;
}

/**
 * The registered hosts and all that is on them, as fresh as the hosts allow. It asks; it never changes a host.
 * A host that does not answer is `lost`, and its VMs are `unknown` until it is back; only the host itself, or its
 * removal, makes a VM disappear.
 */
export class Inventory {
  readonly #options: InventoryOptions;
  readonly #clock: Clock;
  readonly #timing: InventoryTiming;
  readonly #log: Log;
  readonly #links = new Map<string, HostLink>();
  readonly #adding = new Set<string>();
  readonly #feed = new ChangeFeed();
  readonly #vms: VmMap;
  readonly #started = Promise.withResolvers<AbortSignal>();

  constructor(options: InventoryOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.#log = options.log ?? noLog;
    this.#vms = new VmMap({ links: this.#links, feed: this.#feed, clock: this.#clock });
    this.#started.promise.catch(() => undefined);
  }

  /** Resolves when `run` has read the store: from then on every registered host is listed. */
  async started(): Promise<void> {
    await this.#started.promise;
  }

  /** Keeps a connection to every host until `signal` fires; then closes them all and resolves. Call it once. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    try {
      for (const record of await this.#options.store.hosts.list()) this.#link(record, this.#shellOf(record)).start(signal);
      this.#started.resolve(signal);
    } catch (error) {
      this.#started.reject(error);
      throw error;
    }
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.all([...this.#links.values()].map((link) => link[Symbol.asyncDispose]()));
  }

  /** By name. */
  hosts(): HostView[] {
    return [...this.#links.values()].map((link) => this.#viewHost(link)).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** By id or name; throws `not-found`. */
  host(ref: string): HostView {
    return this.#viewHost(this.#find(ref));
  }

  /** One for each VM, on the host that {@link VmMap} says it is on; one for each copy in a conflict. By name. */
  vms(): VmView[] {
    return this.#vms.views().sort((a, b) => (a.name === b.name ? (a.id < b.id ? -1 : 1) : a.name < b.name ? -1 : 1));
  }

  /** By id, name or `host/name`; throws `not-found`, or `ambiguous` with the candidates. */
  vm(ref: string): VmView {
    const [view, copy] = this.#vms.viewsOf(ref.toLowerCase());
    return view && !copy ? view : findVm(ref, this.#vms.views());
  }

  conflicts(): VmConflict[] {
    return this.#vms.conflicts();
  }

  /** By host and name; what a lost host last said of its pools included. */
  pools(): PoolView[] {
    return [...this.#links.values()]
      .flatMap(({ record, pools }) => pools.map((pool) => ({ ...pool, hostId: record.id, host: record.name })))
      .sort((a, b) => (a.host === b.host ? (a.name < b.name ? -1 : 1) : a.host < b.host ? -1 : 1));
  }

  /** The connection to a host; throws `not-found`, or `host-lost` with the reason while there is none. */
  hypervisor(hostRef: string): HypervisorHost {
    return this.#find(hostRef).hypervisor();
  }

  /** Throws `not-found` for an unknown host, `invalid` when it was registered without a way to a shell. */
  shell(hostRef: string): HostShell {
    const { shell, record } = this.#find(hostRef);
    if (shell) return shell;
    throw new EngineError("invalid", `host ${record.name} has no shell: add it with a +ssh URI, or with --ssh`, { host: record.name });
  }

  /** Asks a host about one VM now; undefined when it has none such. Throws `host-lost` when it does not answer. */
  async refreshVm(hostRef: string, vmId: string, { signal }: { readonly signal: AbortSignal }): Promise<VmFacts | undefined> {
    return await this.#find(hostRef).refresh(vmId, signal);
  }

  /** Every change from the call on; bounded, says `overflow` instead of growing. Throws `signal.reason` on abort. */
  changes({ signal }: { readonly signal: AbortSignal }): AsyncIterable<InventoryChange> {
    return this.#feed.subscribe(signal);
  }

  /** Looks again after every change until there is something to see, and gives that. */
  async waitFor<T>(look: (inventory: this) => T | undefined | false, { signal }: { readonly signal: AbortSignal }): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      const change = this.#feed.next(signal);
      change.catch(() => undefined);
      const seen = look(this);
      if (seen !== undefined && seen !== false) return seen;
      await change;
    }
  }

  /**
   * Registers a host, after connecting to it and reading its facts; nothing is kept when that fails. Throws
   * `conflict` for a machine or name that is registered already, `host-lost` when it cannot be reached.
   */
  async addHost(wanted: NewHost, { signal }: { readonly signal: AbortSignal }): Promise<HostView> {
    const running = await this.#started.promise;
    using _name = this.#reserve(`name ${wanted.name}`, this.#named(wanted.name));
    const unregistered: HostRecord = { ...wanted, id: "", addedAt: new Date(this.#clock.now()).toISOString() };
    await using stack = new AsyncDisposableStack();
    const shell = this.#shellOf(unregistered);
    if (shell) stack.use(shell);
    const host = stack.use(await this.#reach(unregistered, shell, signal));
    using _id = this.#reserve(`machine ${host.uuid}`, this.#links.get(host.uuid));
    await this.#answers(wanted, host, signal);
    const record: HostRecord = { ...unregistered, id: host.uuid };
    await this.#options.store.hosts.put(record.id, record);
    stack.move();
    const link = this.#link(record, shell);
    link.start(running, host);
    this.#feed.emit({ kind: "host", hostId: record.id });
    // It is registered now, whatever becomes of the caller.
    await this.waitFor(() => link.state !== "connecting", { signal }).catch(() => undefined);
    return this.#viewHost(link);
  }

  /** Forgets a host; nothing on it changes. Throws `not-found`, or what `mayRemove` throws. */
  async removeHost(ref: string): Promise<void> {
    const link = this.#find(ref);
    const { id } = link.record;
    await this.#options.mayRemove?.(this.#viewHost(link));
    await this.#options.store.hosts.delete(id);
    const closed = link[Symbol.asyncDispose]();
    this.#vms.drop(id);
    this.#links.delete(id);
    this.#feed.emit({ kind: "host-removed", hostId: id });
    await closed;
  }

  /** A URI that means nothing has no shell; the connection will say what is wrong with it. */
  #shellOf(record: HostRecord): HostShell | undefined {
    try {
      return this.#options.openShell(record);
    } catch (error) {
      this.#log.warn({ host: record.name }, `no shell: ${describeError(error)}`);
      return undefined;
    }
  }

  #find(ref: string): HostLink {
    return findHost(ref, [...this.#links.values()]);
  }

  #named(name: string): HostLink | undefined {
    return [...this.#links.values()].find((link) => link.record.name === name);
  }

  #viewHost(link: HostLink): HostView {
    const { record, state, stateSince, reason, facts, factsAt } = link;
    return {
      id: record.id,
      name: record.name,
      uri: record.uri,
      state,
      stateSince: new Date(stateSince).toISOString(),
      reason,
      facts,
      factsAt: factsAt === undefined ? undefined : new Date(factsAt).toISOString(),
      vms: this.#vms.count(record.id),
    };
  }

  /** Two requests for the same host exclude each other while the first is on its way. */
  #reserve(what: string, holder: HostLink | undefined): Disposable {
    if (holder) {
      const { name, uri } = holder.record;
      const same = what.startsWith("machine");
      const text = same
        ? `this machine (${holder.record.id}) is registered already, as ${name} at ${uri}; if it is another one, its host UUID was cloned: set host_uuid in its libvirtd.conf`
        : `a host ${name} is registered already, at ${uri}; choose another name, or remove it first`;
      throw new EngineError("conflict", text, { host: name });
    }
    if (this.#adding.has(what)) throw new EngineError("conflict", `a host with the same ${what} is being added at this moment`);
    this.#adding.add(what);
    return { [Symbol.dispose]: () => void this.#adding.delete(what) };
  }

  async #reach(record: HostRecord, shell: HostShell | undefined, signal: AbortSignal): Promise<HypervisorHost> {
    try {
      const open = (signal: AbortSignal): Promise<HypervisorHost> => this.#options.openHost(record, { signal, shell });
      return await openWithin({ timing: this.#timing, clock: this.#clock, signal, open });
    } catch (error) {
      throw this.#unreachable(record, error, signal);
    }
  }

  async #answers(wanted: NewHost, host: HypervisorHost, signal: AbortSignal): Promise<void> {
    const late = (): Error => new EngineError("host-lost", `no answer within ${this.#timing.readMs / 1000} s`);
    try {
      await withDeadline(this.#timing.readMs, late, signal, (signal) => host.facts({ signal }));
    } catch (error) {
      throw this.#unreachable(wanted, error, signal);
    }
  }

  #unreachable(wanted: NewHost, error: unknown, signal: AbortSignal): Error {
    if (signal.aborted) return signal.reason as Error;
    const { name, uri } = wanted;
    this.#log.info({ host: name, uri }, `host was not added: ${describeError(error)}`);
    const kind = error instanceof EngineError && error.kind === "invalid" ? "invalid" : "host-lost";
    return new EngineError(
      kind,
      `host ${name} was not added: ${uri} cannot be used; try it with: virsh -c '${uri}' nodeinfo`,
      { host: name, uri },
      { cause: error },
    );
  }

  #link(record: HostRecord, shell: HostShell | undefined): HostLink {
    const unlessRemoved = (tell: () => void): void => (this.#links.get(record.id) === link ? tell() : undefined);
    const link = new HostLink(record, {
      openHost: this.#options.openHost,
      clock: this.#clock,
      random: this.#options.random ?? Math.random,
      timing: this.#timing,
      log: this.#log,
      shell,
      onChange: (kind) => unlessRemoved(() => this.#feed.emit({ kind, hostId: record.id })),
      onReach: (up) => unlessRemoved(() => this.#vms.reached(record.id, up)),
      onVms: (vms, askedAt) => unlessRemoved(() => this.#vms.seenAll(record.id, vms, askedAt)),
      onVm: (id, facts, askedAt) => unlessRemoved(() => this.#vms.seen(record.id, id, facts, askedAt)),
    });
    this.#links.set(record.id, link);
    return link;
  }
}
