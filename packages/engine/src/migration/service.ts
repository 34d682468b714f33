import { type Clock, describeError, raceAbort, Semaphore, systemClock } from "@godwit/core";
import { join } from "node:path";
import type { HostView } from "../model/host.ts";
import { EngineError, refusal } from "../model/errors.ts";
import type { HostMigrationSettings, LiveMigrationSettings, NetworkVerdict, NetworkView } from "../model/network.ts";
import type { Check } from "../model/reason.ts";
import type { VmView } from "../model/vm.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";
import type { CopyWish, DestinationFacts, HostMigration, SourceFacts } from "../ports/migration.ts";
import type { HostShell } from "../ports/shell.ts";
import { fail } from "./checks.ts";
import { type GatheredFacts, KeptFacts } from "./kept-facts.ts";
import { DirtyRates } from "./dirty-rates.ts";
import { makeForecast, measureSeconds, type Measuring } from "./forecast-service.ts";
import type { PastMove } from "./history.ts";
import {
  type Arrival,
  isOffline,
  type MemoryFile,
  type MigrationInput,
  type MigrationPlan,
  type MigrationWish,
  type ReadyPlan,
} from "./model.ts";
import { preflight, type Sharing, type YieldingJob } from "./preflight.ts";
import { filesToShare, memoryPlace, smallFiles, wishedCopies } from "./preflight-storage.ts";
import { findInterfaces, ProvenFolders, proveSharing, RecentReach } from "./sharing.ts";
import { Switchovers } from "./turns.ts";
import { chooseTransport, transportChecks } from "./transport.ts";
import { readTransportAbility } from "./transport-ability.ts";
import { transportFacts } from "./transport-facts.ts";

/** What migration needs of the inventory. */
export interface MigrationHosts {
  hosts(): readonly HostView[];
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
  /** Moves that were done, newest first: forecasts learn from them. */
  readonly history?: () => Promise<readonly PastMove[]>;
  readonly clock?: Clock;
  /** Whether a job of Godwit's own holds the VM now, and how it makes way for a move. */
  readonly yields?: (vmId: string) => YieldingJob | undefined;
  /** What the site's own rules say of a move, while these others are on their way: placement, workloads, maintenance. */
  readonly rules?: (input: MigrationInput, kind: MigrationPlan["kind"], arriving: readonly Arrival[]) => Promise<readonly Check[]>;
  /** Whether what the VM is for needs a VM-Generation-ID that it has not. */
  readonly lacksGenerationId?: (input: MigrationInput) => Promise<boolean>;
}

interface Cancellable {
  readonly signal: AbortSignal;
}

export interface GenerationIdResult {
  readonly vmId: string;
  readonly vm: string;
  readonly host: string;
  readonly outcome: "there" | "added" | "at-next-start";
}

/** Each is a second of a hypervisor's sampling, and little else. */
const simultaneousMeasurements = 32;

/** A pool that cannot be looked at within this time counts as it was last seen, milliseconds. */
const poolLookMs = 5000;

/** A hypervisor on a busy machine takes a while to let go of a capture that was parked or has ended; milliseconds. */
const lettingGoMs = 10_000;
const lookAgainMs = 500;

function onlyLettingGo(checks: readonly Check[]): boolean {
  const failed = checks.filter(({ verdict }) => verdict === "fail");
  return failed.length > 0 && failed.every(({ id, text }) => id === "job" && text.startsWith("a backup"));
}

interface PrepareOptions extends Cancellable {
  readonly measure?: Measuring;
  /** `keep` what the hosts say for the job of this move; `use` what was kept for it. Absent: ask, and forget. */
  readonly kept?: "keep" | "use";
}

interface Ends extends Cancellable {
  readonly from: HostMigration;
  readonly to: HostMigration;
}

/** Plans migrations: gathers the facts, judges them, and says what would be done. */
export class Migrations {
  readonly options: MigrationsOptions & { readonly clock: Clock };
  readonly #rates: DirtyRates;
  readonly #kept: KeptFacts;
  readonly #folders: ProvenFolders;
  readonly #arriving = new Set<MigrationInput>();
  readonly switchovers: Switchovers;
  readonly reach: RecentReach;

  constructor(options: MigrationsOptions) {
    this.options = { clock: systemClock, ...options };
    this.#rates = new DirtyRates(this.options.clock);
    this.#kept = new KeptFacts(this.options.clock);
    this.#folders = new ProvenFolders(this.options.clock);
    this.reach = new RecentReach(this.options.clock);
    this.switchovers = new Switchovers(this.options.clock);
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
      kind: wish.kind ?? (vm.state === "off" ? "cold" : "live"),
      ...(wish.storagePool !== undefined && { storagePool: wish.storagePool }),
      ...(wish.storageByDisk !== undefined && { storageByDisk: wish.storageByDisk }),
      ...(wish.networkMap !== undefined && { networkMap: wish.networkMap }),
      ...(wish.bandwidthBytesPerSecond !== undefined && { bandwidthBytesPerSecond: wish.bandwidthBytesPerSecond }),
      ...(wish.maximumPauseMs !== undefined && { maximumPauseMs: wish.maximumPauseMs }),
      ...(wish.policy !== undefined && { policy: wish.policy }),
      ...(wish.parallelConnections !== undefined && { parallelConnections: wish.parallelConnections }),
      ...(wish.compression !== undefined && { compression: wish.compression }),
      ...(wish.tls !== undefined && { tls: wish.tls }),
      ...(wish.zeroCopy !== undefined && { zeroCopy: wish.zeroCopy }),
      ...(wish.carryFiles === true && { carryFiles: true }),
      ...(wish.waitForCapture === true && { waitForCapture: true }),
    };
  }

  /**
   * Begins to measure how fast VMs of a host change memory, all at once, for the forecasts of their moves to know. Does
   * not wait for it.
   */
  measureAhead(hostId: string, vmIds: readonly string[], { signal }: Cancellable): void {
    const slots = new Semaphore(simultaneousMeasurements);
    for (const vmId of vmIds) {
      this.#rates.ahead(vmId, async () => {
        using _slot = await slots.acquire({ signal });
        const { hosts, open } = this.options;
        return await open(hosts.hypervisor(hostId)).measure(vmId, { seconds: measureSeconds, signal });
      });
    }
  }

  /** What is free now in the pools of that name, by host; those that do not answer in time are left out. */
  async poolRooms(pool: string, { signal }: Cancellable): Promise<Map<string, number>> {
    const { hosts, open } = this.options;
    const rooms = hosts.hosts().map(async ({ id }): Promise<[string, number][]> => {
      const within = AbortSignal.any([signal, AbortSignal.timeout(poolLookMs)]);
      const look = async (): Promise<{ readonly availableBytes: number } | undefined> =>
        open(hosts.hypervisor(id)).pool(pool, { signal: within });
      const room = await raceAbort(look(), within).catch(() => undefined);
      return room ? [[id, room.availableBytes]] : [];
    });
    return new Map((await Promise.all(rooms)).flat());
  }

  /** What a migration would do, and whether it may. Changes nothing that stays. */
  async plan(wish: MigrationWish, options: Cancellable): Promise<MigrationPlan> {
    return (await this.prepare(this.resolve(wish), { ...options, measure: "now" })).plan;
  }

  /** The same for the executor. Does not throw for a failed check: see `plan.possible`. */
  async prepare(input: MigrationInput, { signal, measure = "no", kept }: PrepareOptions): Promise<ReadyPlan> {
    const { hosts, networks, open } = this.options;
    const source = hosts.host(input.sourceId);
    const destination = hosts.host(input.destinationId);
    if (source.id === destination.id) return sameHost(input);
    const from = open(hosts.hypervisor(source.id));
    const to = open(hosts.hypervisor(destination.id));
    const gathered = await this.#facts(input, { from, to, signal }, kept);
    const { vm, copies, sharing } = gathered;
    const { kind = "live", storagePool, storageByDisk } = input;
    const verdicts = await networks.verdicts(source.id, destination.id);
    const yields = this.#yields(input);
    const facts = { ...gathered, source, destination, networks: verdicts, kind, yields, storagePool, storageByDisk };
    const place = kind === "quick" ? memoryPlace(vm, copies, (path) => sharing.get(path) === "shared") : undefined;
    const planned = kind === "live" && copies.length > 0 ? "shared-nothing" : kind;
    const checks = [
      ...preflight(facts),
      ...(kind === "quick" && place === undefined ? [noPlace(input)] : []),
      ...(await this.#transportChecks(input, source, destination, signal)),
      ...((await this.options.rules?.(input, planned, this.#before(input))) ?? []),
    ];
    const possible = checks.every((check) => check.verdict !== "fail");
    const pathOf = (target: string): string => vm.disks.find((disk) => disk.target === target)?.path ?? "";
    const measured = {
      rates: this.#rates,
      input,
      vm,
      copies,
      verdicts,
      networks: networks.list(),
      history: (await this.options.history?.()) ?? [],
      signal,
    };
    const memoryCopied = place?.pool !== undefined;
    const forecast = possible ? await makeForecast(from, { ...measured, measure, memoryCopied }) : undefined;
    const plan: MigrationPlan = {
      ...names(input),
      kind: planned,
      copies: copies.map(({ target, pool }) => ({ target, from: pathOf(target), pool })),
      networks: verdicts,
      checks,
      possible,
      ...(forecast && { forecast }),
      ...(possible && kind === "live" && { transport: chooseTransport(transportFacts({ ...measured, forecast }, [source, destination])) }),
    };
    const copyPaths = possible ? await to.copyPaths(vm, copies, { signal }) : [];
    const memory = possible && place ? await this.#memory(place, to, { signal }) : undefined;
    const onDisks = [...sharing].filter(([path]) => !vm.files.includes(path));
    return {
      plan,
      copies,
      copyPaths,
      smallFiles: smallFiles(vm, sharing),
      sourcePaths: plan.copies.map((copy) => copy.from),
      sharingProven: onDisks.length > 0 && onDisks.every(([, one]) => one === "shared"),
      autostart: vm.vm.autostart,
      ...(kind === "cold" && (await this.options.lacksGenerationId?.(input)) === true && { addGenerationId: true }),
      ...(memory && { memory }),
    };
  }

  /** Asked only for what was asked for: hosts need not tell what nobody wants. */
  async #transportChecks(input: MigrationInput, source: HostView, destination: HostView, signal: AbortSignal): Promise<Check[]> {
    const asks = input.tls === true || input.zeroCopy === true;
    const ends = [source, destination].map(async (host) => {
      const shell = asks ? this.shell(host.id) : undefined;
      return { host, can: shell && (await readTransportAbility(shell, signal)) };
    });
    return transportChecks(input, await Promise.all(ends));
  }

  /** A move that was told to wait for captures parks none. */
  #yields({ vmId, waitForCapture }: MigrationInput): YieldingJob | undefined {
    const held = this.options.yields?.(vmId);
    return held && waitForCapture === true ? { ...held, when: "at-its-end" } : held;
  }

  async #facts(input: MigrationInput, ends: Ends, kept: PrepareOptions["kept"]): Promise<GatheredFacts> {
    const known = kept === "use" ? await this.#kept.take(input, ends) : undefined;
    if (known) return known;
    const gathered = await this.#gather(input, ends, kept === "keep");
    if (kept === "keep") this.#kept.keep(input, gathered);
    return gathered;
  }

  async #gather(input: MigrationInput, { from, to, signal }: Ends, planning: boolean): Promise<GatheredFacts> {
    const vm = await from.source(input.vmId, { signal });
    const copies = wishedCopies(vm.disks, input);
    const [there, sharing] = await Promise.all([
      to.judge(vm, { copies, networks: input.networkMap ?? {} }, { signal }),
      this.#sharing(input, vm, { copies, planning, signal }),
    ]);
    return { vm, copies, sharing, there: { ...there, nics: await this.#nics(input.destinationId, there, signal) } };
  }

  async #memory(place: NonNullable<ReturnType<typeof memoryPlace>>, to: HostMigration, options: Cancellable): Promise<MemoryFile> {
    const { path, pool, name } = place;
    if (pool === undefined) return { path };
    const folder = (await to.pool(pool, options))?.path ?? "";
    return { path, copyTo: { pool, name, path: join(folder, name) } };
  }

  /** The VM of a job is on its way until this is disposed; jobs that say so later reckon with it. */
  arriving(input: MigrationInput): Disposable {
    this.#arriving.add(input);
    return { [Symbol.dispose]: () => void this.#arriving.delete(input) };
  }

  /** Of two that set out together, only the later one may be kept from going: else neither would get there. */
  #before(input: MigrationInput): Arrival[] {
    const all = [...this.#arriving];
    const own = all.findIndex(({ vmId }) => vmId === input.vmId);
    return own < 0 ? all : all.slice(0, own);
  }

  /** Like {@link prepare}, but measures only for who wants a pause to be held, and throws `refused` with every failed check. */
  async ready(input: MigrationInput, options: Cancellable): Promise<ReadyPlan> {
    const measure = input.maximumPauseMs !== undefined || input.policy !== undefined ? "unless-fresh" : "no";
    const { clock } = this.options;
    const until = clock.monotonic() + lettingGoMs;
    for (;;) {
      const ready = await this.prepare(input, { ...options, measure, kept: "use" });
      const { possible, checks } = ready.plan;
      if (possible) return ready;
      if (!onlyLettingGo(checks) || clock.monotonic() > until) throw refusal(`${input.vm} cannot move to ${input.destination}`, checks);
      await clock.sleep(lookAgainMs, options);
    }
  }

  /** Gives a VM a VM-Generation-ID, unless it has one. Throws `not-found` or `ambiguous`. */
  async ensureGenerationId(vmRef: string, { signal }: Cancellable): Promise<GenerationIdResult> {
    const { hosts, open } = this.options;
    const { id, name, hostId, host } = hosts.vm(vmRef);
    const outcome = await open(hosts.hypervisor(hostId)).ensureGenerationId(id, { signal });
    await hosts.refreshVm(hostId, id, { signal });
    return { vmId: id, vm: name, host, outcome };
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

  async #sharing(
    input: MigrationInput,
    vm: SourceFacts,
    { copies, planning, signal }: Cancellable & { readonly copies: readonly CopyWish[]; readonly planning: boolean },
  ): Promise<Map<string, Sharing>> {
    const paths = filesToShare(vm, copies, !isOffline(input));
    const unproven = (): Map<string, Sharing> => new Map(paths.map((path) => [path, "unproven"]));
    const [source, destination] = [this.shell(input.sourceId), this.shell(input.destinationId)];
    if (!source || !destination) return unproven();
    try {
      const pair = `${input.sourceId} ${input.destinationId}`;
      return await proveSharing(paths, { source, destination, signal }, planning ? { folders: this.#folders, pair } : undefined);
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
}: MigrationInput): Omit<MigrationPlan, "kind" | "copies" | "networks" | "checks" | "possible"> {
  return { vmId, vm, sourceId, source, destinationId, destination };
}

function noPlace({ vm }: MigrationInput): Check {
  return fail(
    "memory-state",
    `no disk of ${vm} is on storage where its memory could wait`,
    "copy a disk with --storage POOL, or move it live",
  );
}

function sameHost(input: MigrationInput): ReadyPlan {
  const check = {
    id: "destination",
    verdict: "fail",
    text: `${input.vm} is on ${input.destination} already`,
    remedy: "name another host",
  } as const;
  const plan: MigrationPlan = { ...names(input), kind: input.kind ?? "live", copies: [], networks: [], checks: [check], possible: false };
  return { plan, copies: [], copyPaths: [], sourcePaths: [], sharingProven: false, autostart: false };
}
