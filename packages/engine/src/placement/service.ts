import { describeError, raceAbort, Semaphore } from "@godwit/core";
import type { Arrival, Measuring, Migrations } from "../migration/index.ts";
import { EngineError } from "../model/errors.ts";
import type { Store } from "../ports/store.ts";
import type { Check } from "../model/reason.ts";
import { Board } from "./board.ts";
import { placementProblems } from "./check.ts";
import { type ProposedMove, TriedMoves } from "./findings.ts";
import { gatherSite, type PlacementHosts, type PlacementNetworks } from "./gather.ts";
import type { Maintenance } from "./maintenance.ts";
import type { Site, SiteVm } from "./model.ts";
import { place, type Placement, type PlaceOptions } from "./place.ts";
import type { VmPolicy } from "./policy.ts";
import { lacksGenerationId, ruleChecks } from "./rule-checks.ts";
import { type MoveKind, noPlacementSettings, type PlacementSettings } from "./rules.ts";

export interface PlacementsOptions {
  readonly store: Pick<Store, "placement">;
  readonly hosts: PlacementHosts;
  readonly networks: PlacementNetworks;
  readonly migrations: Pick<Migrations, "prepare" | "resolve" | "measureAhead" | "poolRooms">;
  readonly maintenance: Maintenance;
}

interface Cancellable {
  readonly signal: AbortSignal;
}

/** A choice of a host that the hypervisors were asked about. */
export interface ProvenPlacement extends Placement {
  /** The pool that the VM's disks would be copied into; absent when they are shared. */
  readonly storagePool?: string | undefined;
}

/** A move from one host to another, by ids. */
export interface MoveEnds {
  readonly vmId: string;
  readonly sourceId: string;
  readonly destinationId: string;
}

const arrives = (one: Arrival, vmId: string, hostId: string): boolean => one.vmId === vmId && one.destinationId === hostId;

const settingsId = "cluster";
/** Preflights at the same time: each asks two hosts a handful of things. */
const simultaneousPreflights = 8;
/** Other hosts that are tried for one VM after the best one was refused. */
const maximumTries = 64;

/** Chooses hosts for VMs by the rules of the site, and asks the hypervisors whether the choice would hold. */
export class Placements {
  readonly options: PlacementsOptions;
  readonly #writing = new Semaphore(1);

  constructor(options: PlacementsOptions) {
    this.options = options;
  }

  async settings(): Promise<PlacementSettings> {
    return (await this.options.store.placement.get(settingsId)) ?? noPlacementSettings;
  }

  /** Puts whole settings in place of those of now. Throws `invalid` with every problem, and changes nothing then. */
  async replaceSettings(settings: PlacementSettings): Promise<PlacementSettings> {
    const problems = placementProblems(settings, this.options.hosts.hosts());
    if (problems.length > 0) {
      throw new EngineError("invalid", problems.map(({ path, text }) => `${path.join(".")}: ${text}`).join("\n"));
    }
    using _writing = await this.#writing.acquire();
    await this.options.store.placement.put(settingsId, settings);
    return settings;
  }

  /** What was found out so far is none of the next plan's: hosts change. */
  tries(): TriedMoves {
    return new TriedMoves(this.options.hosts);
  }

  async site(sources: readonly string[], findings?: TriedMoves): Promise<Site> {
    const { hosts, networks, maintenance } = this.options;
    const settings = await this.settings();
    return await gatherSite({ hosts, networks, settings, sources, findings, closed: (id) => maintenance.closed(id) });
  }

  /**
   * The host for a VM, whose preflight passed, and for every other host what speaks against it or how well it
   * suits. Hosts by id or name. Throws `not-found` or `ambiguous`; that no host takes it is an answer.
   */
  async choose(vmRef: string, options: Cancellable & { readonly to?: readonly string[] | undefined }): Promise<ProvenPlacement> {
    const { hosts } = this.options;
    const view = hosts.vm(vmRef);
    const only = options.to && new Set(options.to.map((ref) => hosts.host(ref).id));
    const tries = this.tries();
    for (let attempt = 0; ; attempt += 1) {
      const { placement, vm } = await this.#place(view.id, tries, { only });
      const storagePool = vm.localDisks?.pool;
      if (placement.hostId === undefined || vm.state !== "running") return { ...placement, storagePool };
      const move: ProposedMove = { vmId: vm.id, destinationId: placement.hostId, storagePool };
      if (tries.passed(move) || attempt >= maximumTries) return { ...placement, storagePool };
      await this.tryOut([move], tries, options);
    }
  }

  /**
   * What the site's rules say of one move that somebody asks for: they hold for it as for any that Godwit plans
   * itself. Soft rules are the asker's to break. Who is arriving there counts as one that is there. VMs that a drain took
   * away and that come back are not kept apart by what they were together with.
   */
  async checks({ vmId, sourceId, destinationId }: MoveEnds, kind: MoveKind, arriving: readonly Arrival[] = []): Promise<Check[]> {
    const site = await this.site([]);
    const vm = site.vms.find(({ id, hostId }) => id === vmId && hostId === sourceId);
    const returning = this.options.maintenance.get(destinationId)?.returning ?? [];
    const fellows = new Set(returning.includes(vmId) ? returning : []);
    const board = new Board(site, fellows.union(new Set([vmId])));
    const seat = board.seat(destinationId);
    for (const other of site.vms)
      if (
        seat &&
        other.id !== vmId &&
        !fellows.has(other.id) &&
        other.hostId !== destinationId &&
        arriving.some((one) => arrives(one, other.id, destinationId))
      )
        board.put(other, seat);
    return vm && seat ? ruleChecks(vm, { seat, board, kind }) : [];
  }

  /** Whether what a VM is for needs a VM-Generation-ID that it has not. */
  async lacksGenerationId({ vmId, sourceId }: Pick<MoveEnds, "vmId" | "sourceId">): Promise<boolean> {
    const vm = (await this.site([])).vms.find(({ id, hostId }) => id === vmId && hostId === sourceId);
    return vm !== undefined && lacksGenerationId(vm);
  }

  /** The pause that the VM's workload and rules allow, and what they want when that is not enough. By id or name. */
  async contract(vmRef: string): Promise<Pick<VmPolicy, "maximumPauseMs" | "pausePolicy">> {
    const { id, hostId } = this.options.hosts.vm(vmRef);
    const site = await this.site([]);
    return site.vms.find((vm) => vm.id === id && vm.hostId === hostId)?.policy ?? {};
  }

  /** Runs the preflights of these moves, some at a time, and notes what they say. */
  async tryOut(
    moves: readonly ProposedMove[],
    tries: TriedMoves,
    { signal, measure = "no" }: Cancellable & { readonly measure?: Measuring },
  ): Promise<void> {
    const slots = new Semaphore(simultaneousPreflights);
    await Promise.all(
      moves
        .filter((move) => !tries.passed(move))
        .map(async (move) => {
          using _slot = await slots.acquire({ signal });
          await this.#tryOne(move, tries, { signal, measure });
        }),
    );
    const { migrations } = this.options;
    await Promise.all(
      tries.unseenPools().map(async (pool) => tries.noteRooms(pool, await raceAbort(migrations.poolRooms(pool, { signal }), signal))),
    );
  }

  async #tryOne(move: ProposedMove, tries: TriedMoves, options: Cancellable & { readonly measure: Measuring }): Promise<void> {
    const { hosts, migrations } = this.options;
    const { signal } = options;
    const { vmId: vm, destinationId: to, storagePool, maximumPauseMs, pausePolicy: policy } = move;
    try {
      const input = migrations.resolve({ vm, to, storagePool, maximumPauseMs, policy });
      const { plan } = await raceAbort(migrations.prepare(input, { ...options, kept: "keep" }), signal);
      tries.note(hosts.vm(move.vmId), move, plan);
    } catch (error) {
      signal.throwIfAborted();
      const text = describeError(error);
      tries.ruleOut(move.vmId, move.destinationId, { code: "preflight", text, change: "see: godwit doctor" });
    }
  }

  async #place(vmId: string, tries: TriedMoves, options: PlaceOptions): Promise<{ readonly placement: Placement; readonly vm: SiteVm }> {
    const { hostId } = this.options.hosts.vm(vmId);
    const site = await this.site([hostId], tries);
    const vm = site.vms.find(({ id, hostId: at }) => id === vmId && at === hostId);
    if (!vm) throw new EngineError("not-found", `there is no VM ${vmId} any more`, { vmId });
    return { placement: place(vm, site, options), vm };
  }
}
