import { BoundedQueue, canonicalJson, type Clock, describeError, isCancelled, raceAbort, Semaphore } from "@godwit/core";
import { type Log, noLog } from "../inventory/log.ts";
import type { ServerNetwork } from "../ports/server-network.ts";
import {
  type BackupTrafficSettings,
  defaultBackupTraffic,
  type HostMigrationSettings,
  type LiveMigrationSettings,
  type NetworkInterface,
  type NetworkRecord,
  type NetworkRole,
  type NetworkVerdict,
  type NetworkView,
} from "../model/network.ts";
import type { Store } from "../ports/store.ts";
import { backupVerdicts } from "./backup.ts";
import { Coalesced } from "./coalesce.ts";
import type { HostNetworkFacts } from "./facts.ts";
import { MigrationSettings } from "./migration-settings.ts";
import type { ClusterNetwork, IgnoredInterface } from "./model.ts";
import { findNamed } from "./names.ts";
import { type HostSource, type Observation, observe } from "./observe.ts";
import { planNetworks } from "./plan.ts";
import { selectMigrationNetworks } from "./select.ts";
import {
  type BackupTrafficEdit,
  editBackupTraffic,
  editLiveMigration,
  editNetworkRecords,
  type HostMigrationEdit,
  type LiveMigrationEdit,
  type NetworkEdit,
  type NetworkRecordEdit,
  noLiveMigrationSettings,
} from "./settings.ts";

export interface NetworksOptions {
  readonly store: Pick<Store, "networks" | "liveMigration" | "hostMigration" | "backupTraffic" | "hostBackup">;
  readonly clock: Clock;
  readonly hosts: HostSource;
  /** The machine that the server runs on: the other end of backup traffic. On no network when absent. */
  readonly server?: ServerNetwork | undefined;
  /** Told of state changes and of refreshes that failed. */
  readonly log?: Log | undefined;
  /** Milliseconds between two looks at the hosts; 30 s when absent. */
  readonly intervalMs?: number | undefined;
  /** Milliseconds that one host may take for its facts, and again for its probes; 20 s when absent. */
  readonly hostDeadlineMs?: number | undefined;
  /** The role of a new network with a gateway; `cluster-and-client` when absent. */
  readonly defaultRole?: NetworkRole | undefined;
}

/** Something to read again. */
export type NetworkChange =
  | { readonly kind: "networks" }
  | { readonly kind: "live-migration" }
  | { readonly kind: "host-migration"; readonly hostId: string }
  | { readonly kind: "backup-traffic" }
  | { readonly kind: "overflow" };

interface Cancellable {
  readonly signal: AbortSignal;
}

const LIVE_MIGRATION_ID = "cluster";
const CHANGE_QUEUE = 64;
const nowhere: ServerNetwork = { addresses: () => [], probe: async () => "the server has no network" };

/**
 * The cluster's networks as they are now, and what the admin decided about them. The hosts are the truth:
 * with an empty store the same networks come back under the same ids.
 */
export class Networks {
  /** Hosts' migration subnets: `Get-/Add-/Set-/Remove-VMMigrationNetwork`. */
  readonly migrationNetworks: MigrationSettings;
  /** Hosts' subnets for what captures read and recoveries write. */
  readonly backupNetworks: MigrationSettings;
  readonly #options: NetworksOptions;
  readonly #log: Log;
  readonly #refreshes: Coalesced<void>;
  readonly #facts = new Map<string, HostNetworkFacts>();
  readonly #listeners = new Set<BoundedQueue<NetworkChange>>();
  /** Whoever reads records, decides and writes them holds it. */
  readonly #writing = new Semaphore(1);
  #observation: Observation | undefined;
  #networks: readonly ClusterNetwork[] = [];
  #ignored: readonly IgnoredInterface[] = [];
  #nudge: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(options: NetworksOptions) {
    this.#options = options;
    this.#log = options.log ?? noLog;
    this.#refreshes = new Coalesced((signal) => this.#look(signal));
    this.migrationNetworks = new MigrationSettings(options, (hostId) => this.#tell({ kind: "host-migration", hostId }));
    const kept = { store: { hostMigration: options.store.hostBackup }, hosts: options.hosts, what: "backup network" };
    this.backupNetworks = new MigrationSettings(kept, () => this.#tell({ kind: "backup-traffic" }));
  }

  /** Looks at every host now. Callers share a run; a host that fails shows in the states and is no error. */
  async refresh({ signal }: Cancellable): Promise<void> {
    await this.#refreshes.run(signal);
  }

  /** Refreshes every 30 s and at once after {@link nudge}, until `signal` fires; then resolves. */
  async run({ signal }: Cancellable): Promise<void> {
    while (!signal.aborted) {
      this.#nudge = Promise.withResolvers();
      try {
        await this.refresh({ signal });
      } catch (error) {
        if (!signal.aborted) this.#log.warn({}, `the refresh of networks failed: ${describeError(error)}`);
      }
      await this.#pause(signal);
    }
  }

  /** Something about the hosts changed: look now instead of at the next interval. */
  nudge(): void {
    this.#nudge.resolve();
  }

  list(): NetworkView[] {
    return this.#networks.map(toView);
  }

  /** By id or name. Throws `not-found` or `ambiguous`. */
  get(ref: string): NetworkView {
    return toView(findNamed("network", ref, this.#networks));
  }

  interfaces(filter: { readonly hostId?: string; readonly networkId?: string } = {}): NetworkInterface[] {
    return this.#networks
      .flatMap((network) => network.interfaces)
      .filter((row) => (filter.hostId ?? row.hostId) === row.hostId && (filter.networkId ?? row.networkId) === row.networkId);
  }

  /** Interfaces with addresses that are on no cluster network, each with the reason. */
  ignored(): readonly IgnoredInterface[] {
    return this.#ignored;
  }

  /** Every network that there is or was, as the store has it. */
  async records(): Promise<NetworkRecord[]> {
    return await this.#options.store.networks.list();
  }

  /** By id or name. Throws as {@link editNetworkRecords}. */
  async edit(ref: string, edit: NetworkEdit): Promise<NetworkView> {
    const { id } = findNamed("network", ref, this.#networks);
    await this.editAll([{ id, edit }]);
    return this.get(id);
  }

  /** Several at once, all or none; also of networks that nobody has seen yet. Throws as {@link editNetworkRecords}. */
  async editAll(edits: readonly NetworkRecordEdit[]): Promise<void> {
    using _writing = await this.#writing.acquire();
    const records = await this.records();
    const after = editNetworkRecords(edits, { records, listed: this.#networks });
    for (const record of after.filter((each) => !records.includes(each))) await this.#options.store.networks.put(record.id, record);
    await this.#replan();
  }

  async liveMigration(): Promise<LiveMigrationSettings> {
    return (await this.#options.store.liveMigration.get(LIVE_MIGRATION_ID)) ?? noLiveMigrationSettings;
  }

  /** Networks by id or name; kept by id. Throws `not-found`, `ambiguous` or `invalid` and changes nothing then. */
  async setLiveMigration(edit: LiveMigrationEdit): Promise<LiveMigrationSettings> {
    using _writing = await this.#writing.acquire();
    const settings = editLiveMigration(await this.liveMigration(), edit, await this.records());
    await this.#options.store.liveMigration.put(LIVE_MIGRATION_ID, settings);
    this.#tell({ kind: "live-migration" });
    return settings;
  }

  async backupTraffic(): Promise<BackupTrafficSettings> {
    return { ...defaultBackupTraffic, ...(await this.#options.store.backupTraffic.get(LIVE_MIGRATION_ID)) };
  }

  /** Networks by id or name; kept by id. Throws `not-found`, `ambiguous` or `invalid` and changes nothing then. */
  async setBackupTraffic(edit: BackupTrafficEdit): Promise<BackupTrafficSettings> {
    using _writing = await this.#writing.acquire();
    const settings = editBackupTraffic(await this.backupTraffic(), edit, await this.records());
    await this.#options.store.backupTraffic.put(LIVE_MIGRATION_ID, settings);
    this.#tell({ kind: "backup-traffic" });
    return settings;
  }

  /** Every network with its rank and reason for what a host's captures read and its recoveries write. */
  async backupVerdicts(ref: string, { signal }: Cancellable): Promise<NetworkVerdict[]> {
    const { hosts, server = nowhere } = this.#options;
    const host = await this.backupNetworks.host(ref);
    const [settings, hostSettings, listed] = await Promise.all([this.backupTraffic(), this.backupNetworks.settings(host.id), hosts.list()]);
    const sshPort = listed.find(({ id }) => id === host.id)?.sshPort ?? 22;
    return await backupVerdicts({ host, sshPort, networks: this.#networks, settings, hostSettings, server }, { signal });
  }

  /** By id or name. Throws `not-found` or `ambiguous`. */
  async hostMigration(host: string): Promise<HostMigrationSettings> {
    return await this.migrationNetworks.settings(host);
  }

  async setHostMigration(host: string, edit: HostMigrationEdit): Promise<HostMigrationSettings> {
    return await this.migrationNetworks.edit(host, edit);
  }

  /** Every network with its rank and reason for a migration between two hosts, by id or name. */
  async verdicts(source: string, destination: string): Promise<NetworkVerdict[]> {
    const [from, to] = [await this.migrationNetworks.host(source), await this.migrationNetworks.host(destination)];
    const [live, destinationSettings] = [await this.liveMigration(), await this.hostMigration(to.id)];
    return selectMigrationNetworks({ source: from, destination: to, networks: this.#networks, live, destinationSettings });
  }

  /** Says what to read again, from now on, until `signal` fires. Bounded: `overflow` means to read everything. */
  async *changes({ signal }: Cancellable): AsyncGenerator<NetworkChange> {
    using queue = new BoundedQueue<NetworkChange>(CHANGE_QUEUE);
    this.#listeners.add(queue);
    const stop = (): void => queue.end();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    try {
      for await (const queued of queue) yield queued.kind === "item" ? queued.item : { kind: "overflow" };
    } finally {
      signal.removeEventListener("abort", stop);
      this.#listeners.delete(queue);
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { hosts: source, hostDeadlineMs = 20_000 } = this.#options;
    const observation = await observe({ source, lastFacts: this.#facts, hostDeadlineMs, signal });
    using _writing = await this.#writing.acquire({ signal });
    this.#facts.clear();
    for (const host of observation.hosts) if (host.facts) this.#facts.set(host.id, host.facts);
    this.#observation = observation;
    await this.#replan();
  }

  /** Makes the view anew of the last observation and the records of now. The caller holds `#writing`. */
  async #replan(): Promise<void> {
    if (!this.#observation) return;
    const { store, defaultRole = "cluster-and-client" } = this.#options;
    const plan = planNetworks({ ...this.#observation, records: await this.records(), defaultRole });
    for (const record of plan.changed) await store.networks.put(record.id, record);
    const before = this.#networks;
    this.#networks = plan.networks;
    this.#ignored = plan.ignored;
    if (canonicalJson(before) === canonicalJson(plan.networks)) return;
    this.#logStates(before);
    this.#tell({ kind: "networks" });
  }

  #logStates(before: readonly ClusterNetwork[]): void {
    for (const { id, name, state, stateReason } of this.#networks) {
      const old = before.find((network) => network.id === id);
      if (old?.state !== state)
        this.#log.info({ networkId: id, state }, `network ${name} is ${state}${old ? ` (was ${old.state})` : ""}: ${stateReason.text}`);
    }
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const { clock, intervalMs = 30_000 } = this.#options;
    const over = new AbortController();
    try {
      await raceAbort(
        Promise.race([this.#nudge.promise, clock.sleep(intervalMs, { signal: AbortSignal.any([signal, over.signal]) })]),
        signal,
      );
    } catch (error) {
      if (!isCancelled(error) && !signal.aborted) throw error;
    } finally {
      over.abort();
    }
  }

  #tell(change: NetworkChange): void {
    for (const queue of this.#listeners) queue.push(change);
  }
}

function toView({ gateway: _gateway, links: _links, ...view }: ClusterNetwork): NetworkView {
  return view;
}
