import { Semaphore } from "@godwit/core";
import { defaultHostMigrationSettings, type HostMigrationNetwork, type HostMigrationSettings } from "../model/network.ts";
import type { Store } from "../ports/store.ts";
import {
  addMigrationSubnet,
  type MigrationSubnetEdit,
  removeMigrationSubnets,
  setMigrationSubnets,
  subnetMatches,
} from "./migration-subnets.ts";
import type { NetworkHost } from "./model.ts";
import { findNamed } from "./names.ts";
import type { HostSource } from "./observe.ts";
import { editHostMigration, type HostMigrationEdit } from "./settings.ts";

/** One migration network of one host. */
export interface HostMigrationNetworkView extends HostMigrationNetwork {
  readonly hostId: string;
  readonly host: string;
}

export interface MigrationNetworkFilter {
  /** Id or name. */
  readonly host?: string | undefined;
  /** A subnet, or a pattern with `*` and `?`. */
  readonly subnet?: string | undefined;
  readonly priority?: number | undefined;
}

interface Kept {
  readonly store: Pick<Store, "hostMigration">;
  readonly hosts: HostSource;
  /** What an entry is called; `migration network` when absent. */
  readonly what?: string | undefined;
}

/** What each host decided about migrations, or about backup traffic, kept by host id. Hosts are given by id or name. */
export class MigrationSettings {
  readonly #store: Pick<Store, "hostMigration">;
  readonly #hosts: HostSource;
  readonly #changed: (hostId: string) => void;
  readonly #what: string | undefined;
  readonly #writing = new Semaphore(1);

  constructor({ store, hosts, what }: Kept, changed: (hostId: string) => void) {
    this.#store = store;
    this.#what = what;
    this.#hosts = hosts;
    this.#changed = changed;
  }

  /** Throws `not-found` or `ambiguous`. */
  async host(ref: string): Promise<NetworkHost> {
    const { id, name } = findNamed("host", ref, await this.#hosts.list());
    return { id, name };
  }

  /** All that a host decided. */
  async settings(host: string): Promise<HostMigrationSettings> {
    return await this.#settings((await this.host(host)).id);
  }

  async edit(host: string, edit: HostMigrationEdit): Promise<HostMigrationSettings> {
    const { settings } = await this.#change(host, (before) => ({ settings: editHostMigration(before, edit) }));
    return settings;
  }

  /** Puts whole settings in place of a host's; for settings that were planned from those of now. */
  async replace(host: string, settings: HostMigrationSettings): Promise<void> {
    await this.#change(host, () => ({ settings }));
  }

  /** By host name, then priority. */
  async list(filter: MigrationNetworkFilter = {}): Promise<HostMigrationNetworkView[]> {
    const hosts = filter.host === undefined ? await this.#hosts.list() : [await this.host(filter.host)];
    const rows: HostMigrationNetworkView[] = [];
    for (const host of hosts.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const { networks } = await this.#settings(host.id);
      rows.push(...networks.map((entry) => toView(host, entry)));
    }
    return rows
      .filter(({ subnet }) => filter.subnet === undefined || subnetMatches(filter.subnet, subnet))
      .filter(({ priority }) => filter.priority === undefined || priority === filter.priority);
  }

  async add(
    host: string,
    { subnet, priority = 0, managedBy = "admin" }: { readonly subnet: string; readonly priority?: number; readonly managedBy?: string },
  ): Promise<HostMigrationNetworkView> {
    const { host: owner, settings } = await this.#change(host, (before) => ({
      settings: addMigrationSubnet(before, { subnet, priority, managedBy }, this.#what),
    }));
    return toView(
      owner,
      settings.networks.find((entry) => subnetMatches(subnet, entry.subnet))!,
    );
  }

  async set(host: string, edit: MigrationSubnetEdit): Promise<HostMigrationNetworkView[]> {
    const { host: owner, changed } = await this.#change(host, (before) => setMigrationSubnets(before, edit, this.#what));
    return changed.map((entry) => toView(owner, entry));
  }

  async remove(host: string, pattern: string): Promise<HostMigrationNetworkView[]> {
    const { host: owner, removed } = await this.#change(host, (before) => removeMigrationSubnets(before, pattern, this.#what));
    return removed.map((entry) => toView(owner, entry));
  }

  /** Forgets what a host decided; for a host that was removed from the cluster. */
  async forget(hostId: string): Promise<void> {
    using _writing = await this.#writing.acquire();
    await this.#store.hostMigration.delete(hostId);
  }

  async #settings(hostId: string): Promise<HostMigrationSettings> {
    return (await this.#store.hostMigration.get(hostId)) ?? defaultHostMigrationSettings;
  }

  async #change<T extends { readonly settings: HostMigrationSettings }>(
    ref: string,
    decide: (before: HostMigrationSettings) => T,
  ): Promise<T & { readonly host: NetworkHost }> {
    const host = await this.host(ref);
    using _writing = await this.#writing.acquire();
    const decided = decide(await this.#settings(host.id));
    await this.#store.hostMigration.put(host.id, decided.settings);
    this.#changed(host.id);
    return { ...decided, host };
  }
}

function toView(host: NetworkHost, entry: HostMigrationNetwork): HostMigrationNetworkView {
  return { hostId: host.id, host: host.name, ...entry };
}
