import { randomUUID } from "node:crypto";
import { availableParallelism, hostname, totalmem } from "node:os";
import { systemClock } from "@godwit/core";
import {
  AccelerationProber,
  applyClusterFile,
  atOnce,
  EngineError,
  type HostView,
  Inventory,
  inventoryHosts,
  InventoryTarget,
  type JobKind,
  JobRunner,
  Networks,
  openLibvirtHost,
  type OpenHost,
  shellOf,
  systemNetwork,
  type Store,
  vmStartKind,
  vmStopKind,
} from "@godwit/engine";
import type { Logger } from "pino";
import { type DoctorOptions, runDoctor } from "./doctor.ts";
import { alertsPart } from "./parts/alerts.ts";
import { movingParts } from "./parts/moving.ts";
import type { PlacementPart } from "./parts/placement.ts";
import { type ProtectionNeeds, type ProtectionPart, protectionPart } from "./parts/protection.ts";
import type { Services } from "./services.ts";

export interface ComposeOptions {
  readonly store: Store;
  readonly log: Logger;
  readonly doctor: Pick<DoctorOptions, "socket" | "stateDir">;
  /** How many at once; by what the machine has when absent. */
  readonly captures?: number | undefined;
  readonly recoveries?: number | undefined;
  /** Besides those of the engine; for tests. */
  readonly kinds?: readonly JobKind[];
}

/** How long jobs that a dead server left wait for all hosts to be connected. */
const resumePatienceMs = 15_000;

function allowed({ captures, recoveries }: ComposeOptions): ProtectionNeeds["atOnce"] {
  const machine = { cores: availableParallelism(), memoryBytes: totalmem() };
  return { captures: captures ?? atOnce("captures", machine), recoveries: recoveries ?? atOnce("recoveries", machine) };
}

/** The engine's parts, put together, running until it is disposed. The store stays the caller's. */
export class Composition implements AsyncDisposable {
  readonly services: Services;
  readonly #inventory: Inventory;
  readonly #networks: Networks;
  readonly #jobs: JobRunner;
  readonly #log: Logger;
  readonly #placement: PlacementPart;
  readonly #protection: ProtectionPart;
  readonly #stop = new AbortController();
  #loops: Promise<unknown> = Promise.resolve();

  constructor(options: ComposeOptions) {
    const { store, log } = options;
    this.#log = log;
    const prober = new AccelerationProber();
    const openHost: OpenHost = (record, { signal, shell }) => openLibvirtHost({ record, signal, shell, prober, log });
    this.#inventory = new Inventory({ store, openHost, openShell: shellOf, log, mayRemove: (host) => this.#mayRemove(host) });
    this.#networks = new Networks({ store, clock: systemClock, hosts: inventoryHosts(this.#inventory), server: systemNetwork, log });
    const [inventory, networks] = [this.#inventory, this.#networks];
    const parts = { store, log, inventory, networks, jobs: () => this.#jobs };
    const { migration, placement, validation } = movingParts(parts);
    this.#placement = placement;
    const { alerts, alertChanges } = alertsPart(store, log);
    const spoolDir = options.doctor.stateDir;
    const protection = protectionPart({
      store,
      inventory,
      networks,
      log,
      alerts,
      spoolDir,
      placements: placement.placements,
      atOnce: allowed(options),
      jobs: () => this.#jobs,
    });
    this.#protection = protection;
    const power = [vmStartKind(inventory, (hostId) => placement.maintenance.closed(hostId)), vmStopKind(inventory, systemClock)];
    const kinds = [...power, ...migration.kinds, ...placement.kinds, ...validation.kinds, ...protection.kinds, ...(options.kinds ?? [])];
    this.#jobs = new JobRunner({
      store: store.jobs,
      clock: systemClock,
      owner: `${hostname()}/${process.pid}/${randomUUID()}`,
      kinds,
      log,
      resumeAfter: this.#hostsConnected(),
    });
    const target = new InventoryTarget({ inventory: this.#withoutTraces(), store, openHost, openShell: shellOf });
    this.services = {
      inventory: this.#withoutTraces(),
      networks,
      jobs: this.#jobs,
      migrations: migration.service,
      protection: protection.service,
      groups: protection.groups,
      alerts,
      alertChanges,
      placement: placement.service,
      validation: validation.service,
      cluster: {
        async apply(document, { fileName, dryRun, signal }) {
          const made = { target, networks, placement: placement.placements, groups: protection.applied };
          const { changes } = await applyClusterFile({ document, fileName, dryRun, signal, ...made });
          return { dryRun, changes: [...changes] };
        },
      },
      doctor: ({ signal }) => runDoctor({ ...options.doctor, inventory, networks, signal }),
    };
  }

  /** Resolves once the store was read and jobs are taken over; hosts connect in the background. */
  async start(): Promise<void> {
    const { signal } = this.#stop;
    const running = this.#inventory.run({ signal });
    running.catch(() => undefined);
    await Promise.all([this.#inventory.started(), this.#placement.maintenance.load()]);
    await this.#jobs.start();
    const loops = [
      running,
      this.#networks.run({ signal }),
      this.#lookAgainWhenHostsChange(signal),
      this.#protection.run(this.#hostsConnected(), signal),
      this.#placement.run(signal),
    ];
    this.#loops = Promise.all(loops);
    this.#loops.catch((error: unknown) => this.#log.error({ err: error }, "a part of the engine ended"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#jobs.stop();
    this.#stop.abort();
    await this.#loops.catch(() => undefined);
    await this.#protection.vaults[Symbol.asyncDispose]();
  }

  async #hostsConnected(): Promise<void> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(resumePatienceMs)]);
    try {
      await this.#inventory.started();
      await this.#inventory.waitFor((inventory) => inventory.hosts().every(({ state }) => state !== "connecting"), { signal });
    } catch {
      // Jobs then find their hosts lost, and say so.
    }
  }

  /** Networks look every 30 s; a host that came or went should not take that long to show. */
  async #lookAgainWhenHostsChange(signal: AbortSignal): Promise<void> {
    let before = "";
    try {
      for await (const change of this.#inventory.changes({ signal })) {
        if (change.kind === "vm" || change.kind === "vm-removed" || change.kind === "pools") continue;
        const now = JSON.stringify(this.#inventory.hosts().map(({ id, state }) => [id, state]));
        if (now === before) continue;
        before = now;
        this.#networks.nudge();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** What an admin decided about a host goes with the host. */
  #withoutTraces(): Services["inventory"] {
    const inventory = this.#inventory;
    return {
      hosts: () => inventory.hosts(),
      host: (ref) => inventory.host(ref),
      vms: () => inventory.vms(),
      vm: (ref) => inventory.vm(ref),
      pools: () => inventory.pools(),
      changes: (options) => inventory.changes(options),
      addHost: (host, options) => inventory.addHost(host, options),
      removeHost: async (ref) => {
        const { id } = inventory.host(ref);
        await inventory.removeHost(id);
        await this.#networks.migrationNetworks.forget(id);
        await this.#networks.backupNetworks.forget(id);
        await this.#placement.maintenance.leave(id);
      },
    };
  }

  #mayRemove({ id, name }: HostView): void {
    const vms = new Set(this.#inventory.vms().flatMap((vm) => (vm.hostId === id ? [vm.id] : [])));
    const busy = this.#jobs
      .unfinished()
      .filter(({ subject, input }) => subject.id === id || vms.has(subject.id) || Object.values(input).includes(id));
    if (busy.length === 0) return;
    const names = busy.slice(0, 3).map((job) => `job ${job.id} (${job.title})`);
    const more = busy.length > names.length ? ` and ${busy.length - names.length} more` : "";
    throw new EngineError("conflict", `host ${name} is needed by ${names.join(", ")}${more}: wait until they ended, or cancel them`, {
      host: name,
    });
  }
}
