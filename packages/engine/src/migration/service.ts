import { type Clock, describeError, systemClock } from "@godwit/core";
import type { HostView } from "../model/host.ts";
import { EngineError, refusal } from "../model/errors.ts";
import type { HostMigrationSettings, LiveMigrationSettings, NetworkVerdict, NetworkView } from "../model/network.ts";
import type { VmView } from "../model/vm.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";
import type { DestinationFacts, HostMigration, SourceFacts } from "../ports/migration.ts";
import type { HostShell } from "../ports/shell.ts";
import type { MigrationInput, MigrationPlan, MigrationWish, ReadyPlan } from "./model.ts";
import { disksToCopy, filesToShare, preflight, type Sharing } from "./preflight.ts";
import { findInterfaces, proveSharing } from "./sharing.ts";

/** What migration needs of the inventory. */
export interface MigrationHosts {
  host(ref: string): HostView;
  vm(ref: string): VmView;
  /** Throws `host-lost` while there is no connection. */
  hypervisor(hostId: string): HypervisorHost;
  shell(hostId: string): HostShell;
  refreshVm(hostId: string, vmId: string, options: { readonly signal: AbortSignal }): Promise<unknown>;
}

/** What migration needs of the networks. */
export interface MigrationNetworks {
  list(): NetworkView[];
  verdicts(sourceId: string, destinationId: string): Promise<NetworkVerdict[]>;
  liveMigration(): Promise<LiveMigrationSettings>;
  hostMigration(hostId: string): Promise<HostMigrationSettings>;
}

export interface MigrationsOptions {
  readonly hosts: MigrationHosts;
  readonly networks: MigrationNetworks;
  /** The migration side of a connected host; its adapter knows how. */
  readonly open: (host: HypervisorHost) => HostMigration;
  readonly clock?: Clock;
}

interface Cancellable {
  readonly signal: AbortSignal;
}

/** Plans migrations: gathers the facts, judges them, and says what would be done. */
export class Migrations {
  readonly options: MigrationsOptions & { readonly clock: Clock };

  constructor(options: MigrationsOptions) {
    this.options = { clock: systemClock, ...options };
  }

  /** Names become ids. Throws `not-found` or `ambiguous`. */
  resolve(wish: MigrationWish): MigrationInput {
    const vm = this.options.hosts.vm(wish.vm);
    const destination = this.options.hosts.host(wish.to);
    return {
      vmId: vm.id,
      vm: vm.name,
      sourceId: vm.hostId,
      source: vm.host,
      destinationId: destination.id,
      destination: destination.name,
      peerToPeer: wish.peerToPeer ?? false,
      autoConverge: wish.autoConverge ?? false,
      ...(wish.storagePool !== undefined && { storagePool: wish.storagePool }),
      ...(wish.bandwidthBytesPerSecond !== undefined && { bandwidthBytesPerSecond: wish.bandwidthBytesPerSecond }),
      ...(wish.maximumPauseMs !== undefined && { maximumPauseMs: wish.maximumPauseMs }),
    };
  }

  /** What a migration would do, and whether it may. Changes nothing that stays. */
  async plan(wish: MigrationWish, options: Cancellable): Promise<MigrationPlan> {
    return (await this.prepare(this.resolve(wish), options)).plan;
  }

  /** The same for the executor. Does not throw for a failed check: see `plan.possible`. */
  async prepare(input: MigrationInput, { signal }: Cancellable): Promise<ReadyPlan> {
    const { hosts, networks, open } = this.options;
    const source = hosts.host(input.sourceId);
    const destination = hosts.host(input.destinationId);
    if (source.id === destination.id) return sameHost(input);
    const from = open(hosts.hypervisor(source.id));
    const to = open(hosts.hypervisor(destination.id));
    const vm = await from.source(input.vmId, { signal });
    const [there, verdicts, sharing] = await Promise.all([
      to.judge(vm, { pool: input.storagePool }, { signal }),
      networks.verdicts(source.id, destination.id),
      this.#sharing(input, vm, signal),
    ]);
    const seen = { ...there, nics: await this.#nics(destination.id, there, signal) };
    const checks = preflight({ source, destination, vm, there: seen, sharing, networks: verdicts, pool: input.storagePool });
    const possible = checks.every((check) => check.verdict !== "fail");
    const kind = input.storagePool === undefined ? "live" : "shared-nothing";
    const plan: MigrationPlan = { ...names(input), kind, networks: verdicts, checks, possible };
    const copied = input.storagePool === undefined ? [] : disksToCopy(vm.disks);
    const copyTargets = copied.map((disk) => disk.target);
    const copyPaths = possible && input.storagePool !== undefined ? await to.copyPaths(input.storagePool, vm, copyTargets, { signal }) : [];
    const sharingProven = copied.length === 0 && sharing.size > 0 && [...sharing.values()].every((one) => one === "shared");
    return { plan, copyTargets, copyPaths, sourcePaths: copied.flatMap((disk) => disk.path ?? []), sharingProven };
  }

  /** Like {@link prepare}, but throws `refused` with every failed check. */
  async ready(input: MigrationInput, options: Cancellable): Promise<ReadyPlan> {
    const ready = await this.prepare(input, options);
    if (!ready.plan.possible) throw refusal(`${input.vm} cannot move to ${input.destination}`, ready.plan.checks);
    return ready;
  }

  /** Undefined for a host without a shell. */
  shell(hostId: string): HostShell | undefined {
    try {
      return this.options.hosts.shell(hostId);
    } catch (error) {
      if (error instanceof EngineError && error.kind === "invalid") return undefined;
      throw error;
    }
  }

  async #sharing(input: MigrationInput, vm: SourceFacts, signal: AbortSignal): Promise<Map<string, Sharing>> {
    const paths = filesToShare(vm, input.storagePool !== undefined);
    const unproven = (): Map<string, Sharing> => new Map(paths.map((path) => [path, "unproven"]));
    const [source, destination] = [this.shell(input.sourceId), this.shell(input.destinationId)];
    if (!source || !destination) return unproven();
    try {
      return await proveSharing(paths, { source, destination, signal });
    } catch (cause) {
      if (signal.aborted) throw cause;
      throw new EngineError(
        "host-lost",
        `whether the disks of ${input.vm} are shared could not be asked: ${describeError(cause)}`,
        { vm: input.vm },
        { cause },
      );
    }
  }

  /** Bridges are no business of the hypervisor's: only a shell knows them. */
  async #nics(hostId: string, there: DestinationFacts, signal: AbortSignal): Promise<DestinationFacts["nics"]> {
    const shell = this.shell(hostId);
    const asked = there.nics.filter((nic) => nic.present === "unknown");
    if (!shell || asked.length === 0) return there.nics;
    const found = await findInterfaces(
      shell,
      asked.map((nic) => nic.source),
      signal,
    );
    return there.nics.map((nic) => (nic.present === "unknown" ? { ...nic, present: found.get(nic.source) ?? "unknown" } : nic));
  }
}

function names({
  vmId,
  vm,
  sourceId,
  source,
  destinationId,
  destination,
}: MigrationInput): Omit<MigrationPlan, "kind" | "networks" | "checks" | "possible"> {
  return { vmId, vm, sourceId, source, destinationId, destination };
}

function sameHost(input: MigrationInput): ReadyPlan {
  const check = {
    id: "destination",
    verdict: "fail",
    text: `${input.vm} is on ${input.destination} already`,
    remedy: "name another host",
  } as const;
  const plan: MigrationPlan = { ...names(input), kind: "live", networks: [], checks: [check], possible: false };
  return { plan, copyTargets: [], copyPaths: [], sourcePaths: [], sharingProven: false };
}
