import type { ChangeEvent } from "@godwit/api";
import { canonicalJson, describeError } from "@godwit/core";
import type { HostView, InventoryChange, JobRecord, NetworkChange } from "@godwit/engine";
import type { Logger } from "pino";
import type { Services } from "../services.ts";
import { alertAnswer } from "./protection-groups.ts";
import { hostMigrationView, hostView, jobsByVm, jobView, vmView } from "./views.ts";

type ChangeType = ChangeEvent["type"];
interface Changed {
  readonly type: ChangeType;
  readonly id: string;
}

/** How many changed things wait for one slow client; beyond that it is told to look at everything again. */
const capacity = 4096;

/** What one client has not been told yet: which things changed, not what they were in between. */
class Unread {
  readonly #things = new Map<string, Changed>();
  #overflow = false;
  #ended = false;
  #wake: (() => void) | undefined;

  add(changed: Changed): void {
    if (changed.type === "overflow" || this.#things.size >= capacity) {
      this.#things.clear();
      this.#overflow = true;
    } else if (!this.#overflow) {
      this.#things.set(`${changed.type} ${changed.id}`, changed);
    }
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** The next change, as soon as there is one; undefined at the end. */
  async next(): Promise<Changed | undefined> {
    for (;;) {
      if (this.#ended) return undefined;
      if (this.#overflow) {
        this.#overflow = false;
        return { type: "overflow", id: "*" };
      }
      for (const [key, changed] of this.#things) {
        this.#things.delete(key);
        return changed;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/**
 * Tells any number of clients what changed. A change says which thing; what the thing is now is looked up when
 * the client is ready for it, so a slow client sees fewer, newer states, and costs no memory.
 */
export class Changes {
  readonly #services: Services;
  readonly #log: Logger;
  readonly #clients = new Set<Unread>();
  #networks = new Map<string, string>();

  constructor(services: Services, log: Logger) {
    this.#services = services;
    this.#log = log;
  }

  /** Collects changes until `signal` fires. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { inventory, networks, jobs } = this.#services;
    await Promise.all([
      this.#pump("inventory", inventory.changes({ signal }), (change) => this.#inventory(change), signal),
      this.#pump("networks", networks.changes({ signal }), (change) => this.#network(change), signal),
      this.#pump("alerts", this.#services.alertChanges({ signal }), (id) => this.#tell("alert", id), signal),
      this.#pump("jobs", jobs.watchAll({ signal, onDropped: () => this.#tell("overflow", "*") }), (job) => this.#job(job), signal),
    ]);
  }

  /** Changes from now on, until `signal` fires. With `missed`, the client is first told to look at everything. */
  async *subscribe({
    signal,
    missed,
  }: {
    readonly signal: AbortSignal;
    readonly missed: boolean;
  }): AsyncGenerator<ChangeEvent, void, undefined> {
    const unread = new Unread();
    const end = (): void => unread.end();
    this.#clients.add(unread);
    signal.addEventListener("abort", end, { once: true });
    try {
      if (signal.aborted) end();
      if (missed) unread.add({ type: "overflow", id: "*" });
      for (let changed = await unread.next(); changed; changed = await unread.next()) {
        const data = await this.#now(changed);
        yield { type: changed.type, id: changed.id, ...(data === undefined ? {} : { data }) };
      }
    } finally {
      signal.removeEventListener("abort", end);
      this.#clients.delete(unread);
    }
  }

  async #pump<T>(what: string, changes: AsyncIterable<T>, tell: (change: T) => void, signal: AbortSignal): Promise<void> {
    try {
      for await (const change of changes) tell(change);
    } catch (error) {
      if (!signal.aborted) this.#log.error({ err: error }, `changes of ${what} are not told any more: ${describeError(error)}`);
    }
  }

  #inventory(change: InventoryChange): void {
    switch (change.kind) {
      case "host":
      case "host-removed":
        this.#tell("host", change.hostId);
        break;
      case "vm":
      case "vm-removed":
        this.#tell("vm", change.vmId);
        break;
      case "pools":
        this.#tell("storage-pool", change.hostId);
        break;
      case "overflow":
        this.#tell("overflow", "*");
        break;
    }
  }

  #network(change: NetworkChange): void {
    switch (change.kind) {
      case "networks":
        this.#networksChanged();
        break;
      case "live-migration":
        this.#tell("settings", "live-migration");
        break;
      case "backup-traffic":
        this.#tell("settings", "backup-traffic");
        break;
      case "host-migration":
        this.#tell("settings", change.hostId);
        break;
      case "overflow":
        this.#tell("overflow", "*");
        break;
    }
  }

  #networksChanged(): void {
    const now = new Map(this.#services.networks.list().map((network) => [network.id, canonicalJson(network)]));
    for (const id of new Set([...this.#networks.keys(), ...now.keys()])) {
      if (this.#networks.get(id) !== now.get(id)) this.#tell("network", id);
    }
    this.#networks = now;
  }

  #job({ id, subject }: JobRecord): void {
    this.#tell("job", id);
    if (subject.type === "vm" || subject.type === "host") this.#tell(subject.type, subject.id);
  }

  #tell(type: ChangeType, id: string): void {
    for (const client of this.#clients) client.add({ type, id });
  }

  /** What a thing is now; undefined when it is gone. */
  async #now({ type, id }: Changed): Promise<unknown> {
    const { inventory, networks, jobs, placement } = this.#services;
    try {
      switch (type) {
        case "host":
          return hostView(inventory.host(id), placement);
        case "vm":
          return vmView(inventory.vm(id), jobsByVm(jobs.unfinished()));
        case "network":
          return networks.get(id);
        case "storage-pool":
          return inventory.pools().filter((pool) => pool.hostId === id);
        case "settings":
          return await this.#settings(id);
        case "job":
          return { ...jobView(await jobs.get(id)), log: [] };
        case "alert":
          return await this.#alert(id);
        case "overflow":
          return undefined;
      }
    } catch {
      // Gone, or a name that several have by now: the client looks again.
      return undefined;
    }
  }

  async #alert(id: string): Promise<unknown> {
    const alert = (await this.#services.alerts.list()).find((one) => one.id === id);
    return alert && alertAnswer(alert);
  }

  async #settings(id: string): Promise<unknown> {
    const { inventory, networks } = this.#services;
    if (id === "live-migration") return await networks.liveMigration();
    if (id === "backup-traffic") return await networks.backupTraffic();
    const host: HostView = inventory.host(id);
    return hostMigrationView(host, await networks.hostMigration(id));
  }
}
