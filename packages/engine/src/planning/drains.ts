import type { Clock } from "@godwit/core";
import type { JobFilter } from "../ports/store.ts";
import type { JobRecord } from "../jobs/job.ts";
import { EngineError, refusal } from "../model/errors.ts";
import type { HostMigrationSettings, LiveMigrationSettings } from "../model/network.ts";
import type { Check } from "../model/reason.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";
import type { TriedMoves } from "../placement/findings.ts";
import type { Placements } from "../placement/service.ts";
import { contentionOf, pastMoveOf, type PastLiveMove, withCrowds } from "../migration/index.ts";
import { liveMigrationLimit } from "../network/settings.ts";
import { type BalancePlan, planBalance } from "./balance.ts";
import { costOf, costsFrom } from "./costs.ts";
import { planDrain } from "./drain.ts";
import { atPace, paceOf, rememberedDrains } from "./pace.ts";
import type { DrainEntry, DrainPlan, DrainRequest } from "./drain-model.ts";

/** What draining needs of the jobs: those that a drain starts are jobs of their own. */
export interface ChildJobs {
  submit(kind: string, input: JobRecord["input"], options: { readonly idempotencyKey: string }): Promise<JobRecord>;
  get(id: string): Promise<JobRecord>;
  cancel(id: string): Promise<JobRecord>;
  watch(id: string, options: { readonly signal: AbortSignal }): AsyncIterable<JobRecord>;
  list(filter: JobFilter, page: { readonly limit: number }): Promise<JobRecord[]>;
}

export interface DrainsOptions {
  readonly placements: Placements;
  readonly networks: {
    liveMigration(): Promise<LiveMigrationSettings>;
    hostMigration(hostId: string): Promise<HostMigrationSettings>;
    /** Looks at every host now. */
    refresh(options: { readonly signal: AbortSignal }): Promise<void>;
  };
  /** Throws `host-lost` while there is no connection. */
  readonly hypervisor: (hostId: string) => HypervisorHost;
  /** There only once the jobs run. */
  readonly jobs: () => ChildJobs;
  readonly clock: Clock;
}

interface PlanOptions {
  readonly signal: AbortSignal;
  /** By id. */
  readonly to?: readonly string[] | undefined;
  /** What earlier rounds found out. */
  readonly tries?: TriedMoves | undefined;
}

/**
 * Each round rules out a host for every VM that is refused, and others may be planned anew for that: so many rounds besides
 * one for each host.
 */
const furtherRounds = 12;
/** Migrations that are looked at to foretell the next ones. */
const remembered = 200;
/** A VM that was moved rests for so long before balancing moves it again, milliseconds. */
const restMs = 10 * 60_000;

/** Plans drains and balances from the cluster as it is, and asks the hypervisors about every move in them. */
export class Drains {
  readonly options: DrainsOptions;

  constructor(options: DrainsOptions) {
    this.options = options;
  }

  get placements(): Placements {
    return this.options.placements;
  }

  /** Simultaneous live migrations that a host takes part in. */
  async limit(hostId: string): Promise<number> {
    return (await this.#limits()).get(hostId) ?? 1;
  }

  /**
   * What a drain would do now; the executor begins with the same. Moves that a preflight refuses are planned
   * anew until all are allowed, or nothing is left to try. Throws `not-found`.
   */
  async plan(hostId: string, { signal, to, tries = this.options.placements.tries() }: PlanOptions): Promise<DrainPlan> {
    const { placements } = this.options;
    const limits = await this.#limits();
    const history = await this.#history();
    const costs = costsFrom(history);
    const contention = contentionOf(withCrowds(history.flatMap(liveMoveOf)));
    const cost = foretold(costs, tries);
    const pace = paceOf(await this.options.jobs().list({ kind: "host.drain", states: ["done"] }, { limit: rememberedDrains }));
    const only = to && new Set(to);
    const here = placements.options.hosts.vms().filter((vm) => vm.hostId === hostId && vm.state === "running");
    placements.options.migrations.measureAhead(
      hostId,
      here.map(({ id }) => id),
      { signal },
    );
    for (let round = 0; ; round += 1) {
      const site = await placements.site([hostId], tries);
      const plan = planDrain({ site, hostId, to: only, limit: (id) => limits.get(id) ?? 1, cost, contention });
      const open = proposed(plan).filter((move) => !tries.passed(move));
      if (open.length === 0) return atPace(withForecasts(plan, tries), pace);
      if (round >= furtherRounds + site.hosts.length) throw tooMany(plan.host, round);
      await placements.tryOut(open, tries, { signal, measure: "unless-fresh" });
    }
  }

  /** Which moves would make the cluster more even, each one allowed by its preflight. */
  async planBalance({ signal, actAbove }: { readonly signal: AbortSignal; readonly actAbove?: number | undefined }): Promise<BalancePlan> {
    const { placements, clock } = this.options;
    const tries = placements.tries();
    const sources = placements.options.hosts.hosts().map(({ id }) => id);
    const rest = new Set(
      (await this.#history()).flatMap(({ subject, endedAt }) => (clock.now() - Date.parse(endedAt ?? "") < restMs ? [subject.id] : [])),
    );
    for (let round = 0; ; round += 1) {
      const plan = planBalance({ site: await placements.site(sources, tries), actAbove, rest });
      const open = plan.moves.filter((move) => !tries.passed(move));
      if (open.length === 0) return plan;
      // One move too few is better than to ask on and on: whom hosts refused by now stays where it is.
      const refused = round < furtherRounds ? [] : open.filter(({ vmId }) => sources.some((id) => tries.ruledOut(vmId, id)));
      for (const { vmId } of refused) rest.add(vmId);
      const others = open.filter(({ vmId }) => !rest.has(vmId));
      await placements.tryOut(others, tries, { signal });
    }
  }

  /** VMs that have memory on the host by what it says now. Throws `host-lost`. */
  async running(hostId: string, signal: AbortSignal): Promise<{ readonly id: string; readonly name: string }[]> {
    const vms = await this.options.hypervisor(hostId).listVms({ signal });
    return vms.filter(({ state }) => state !== "off" && state !== "crashed").map(({ id, name }) => ({ id, name }));
  }

  async #history(): Promise<JobRecord[]> {
    return await this.options.jobs().list({ kind: "vm.migrate", states: ["done"] }, { limit: remembered });
  }

  async #limits(): Promise<Map<string, number>> {
    const { networks, placements } = this.options;
    const live = await networks.liveMigration();
    const limitOf = async (id: string): Promise<[string, number]> => [id, liveMigrationLimit(live, await networks.hostMigration(id))];
    return new Map(await Promise.all(placements.options.hosts.hosts().map(({ id }) => limitOf(id))));
  }
}

function liveMoveOf({ input, result, attempt }: JobRecord): PastLiveMove[] {
  const move = pastMoveOf(input, result, attempt);
  return move?.kind === "live" ? [move] : [];
}

type Cost = DrainRequest["cost"];

/** A preflight's own forecast, where there is one. */
function foretold(otherwise: Cost, tries: TriedMoves): Cost {
  return (vm, to) => {
    const forecast = tries.forecast(vm.id, to.hostId);
    return forecast ? costOf(forecast) : otherwise(vm, to);
  };
}

/** What of a planned move goes into the wish for it. */
export function wishOf(
  move: PlannedMove,
): Pick<PlannedMove, "vmId" | "vm" | "destinationId" | "destination" | "storagePool" | "maximumPauseMs" | "pausePolicy"> {
  const { vmId, vm, destinationId, destination, storagePool, maximumPauseMs, pausePolicy } = move;
  return { vmId, vm, destinationId, destination, storagePool, maximumPauseMs, pausePolicy };
}

export interface PlannedMove extends DrainEntry {
  readonly destinationId: string;
  readonly destination: string;
}

/** The moves of a plan, in their order. */
export function proposed(plan: DrainPlan): PlannedMove[] {
  return plan.entries.filter((entry): entry is PlannedMove => entry.verdict === "move");
}

function withForecasts(plan: DrainPlan, tries: TriedMoves): DrainPlan {
  const told = (entry: DrainEntry): DrainEntry => {
    const forecast = entry.destinationId === undefined ? undefined : tries.forecast(entry.vmId, entry.destinationId);
    if (entry.verdict !== "move" || !forecast) return entry;
    const { code, text } = entry.reason;
    const doubt = forecast.converges ? "" : `; it changes memory too fast for its pause (${entry.pausePolicy}): ${forecast.text}`;
    return { ...entry, predictedPauseMs: forecast.pauseMs, reason: { code, text: `${text}${doubt}` } };
  };
  return { ...plan, entries: plan.entries.map(told) };
}

/** Every VM that cannot move, each with its reason and the choice, as one refusal. */
export function drainRefusal(plan: DrainPlan): EngineError {
  const checks = plan.entries
    .filter(({ verdict }) => verdict === "blocked")
    .map(({ vm, reason, choice }): Check => ({
      id: vm,
      verdict: "fail",
      text: reason.text,
      ...(choice !== undefined && { remedy: choice }),
    }));
  return refusal(`${plan.host} cannot be emptied, and nothing was moved (--partial moves the others)`, checks);
}

function tooMany(what: string, rounds: number): EngineError {
  return new EngineError("timeout", `no plan for ${what} after ${rounds} rounds of preflights: hosts change faster than they can be asked`);
}
