import { isCancelled, type JsonObject } from "@godwit/core";
import type { JobContext, JobKind } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { MaintenanceRecord } from "../model/maintenance.ts";
import type { Check } from "../model/reason.ts";
import { migrationInput } from "./migration-input.ts";
import type { DrainPlan } from "./drain-model.ts";
import { drainRefusal, type Drains, type PlannedMove, proposed, wishOf } from "./drains.ts";
import { type MoveOutcome, type MovesResult, runMoves, type WantedMove } from "./moves.ts";
import { drainPlanText } from "./text.ts";

export interface HostDrainInput extends JsonObject {
  readonly hostId: string;
  readonly host: string;
  /** Only to these hosts, by id; empty: to any. */
  readonly to: readonly string[];
  /** Move what can move even when something cannot. */
  readonly partial: boolean;
  /** Captures that run end first, instead of being parked. */
  readonly waitForCapture?: boolean;
}

type Context = JobContext<HostDrainInput>;

/** A first plan, and further ones for what failed or came in between. */
const maximumRounds = 3;

/**
 * The job that empties a host. From its start on no VM lands there. What cannot move is named before anything
 * moves, and stops the drain unless it is partial. Each move is a job of its own; a VM whose move failed is
 * planned anew, without the host that failed. At the end the host itself is asked what still runs on it.
 */
export function hostDrainKind(drains: Drains): JobKind<HostDrainInput> {
  return {
    kind: "host.drain",
    title: ({ host }) => `Drain ${host}`,
    subject: ({ hostId, host }) => ({ type: "host", id: hostId, name: host }),
    locks: ({ hostId }) => [`host:${hostId}`],
    slots: () => [],
    run: (context) => new Drain(drains, context).run(),
  };
}

class Drain {
  readonly #drains: Drains;
  readonly #context: Context;
  readonly #outcomes: MoveOutcome[];

  constructor(drains: Drains, context: Context) {
    this.#drains = drains;
    this.#context = context;
    this.#outcomes = [...((context.recorded("moves")?.output ?? []) as MoveOutcome[])];
  }

  async run(): Promise<MovesResult> {
    const { id, input, signal } = this.#context;
    const { clock } = this.#drains.options;
    const startedAt = await this.#context.step("begin", async () => {
      signal.throwIfAborted();
      if (!this.#context.recorded("before")) await this.#context.note("before", this.#maintenance.get(input.hostId));
      await this.#maintenance.enter(input.hostId, {
        state: "draining",
        reason: { code: "drain", text: `job ${id} moves its VMs away` },
        jobId: id,
      });
      return clock.now();
    });
    try {
      const first = await this.#round(1);
      let left = await this.#left();
      for (let round = 2; round <= maximumRounds && left.length > 0; round += 1) {
        if (proposed(await this.#round(round)).length === 0) break;
        left = await this.#left();
      }
      if (left.length > 0) throw await this.#incomplete(left);
      await this.#maintenance.enter(input.hostId, { state: "drained", reason: { code: "drained", text: "no VM runs on it" }, jobId: id });
      return this.#result(first, Math.max(0, clock.now() - startedAt));
    } catch (error) {
      await this.#stopped(error);
      throw error;
    }
  }

  async #round(round: number): Promise<DrainPlan> {
    const { input, signal } = this.#context;
    const tries = this.#drains.options.placements.tries();
    for (const { vmId, vm, destinationId, destination, outcome, error } of this.#outcomes) {
      if (outcome !== "failed" || error?.kind === "interrupted") continue;
      tries.ruleOut(vmId, destinationId, {
        code: "tried",
        text: `${vm} did not get to ${destination}: ${error?.message}`,
        change: "see its job",
      });
    }
    const to = input.to.length > 0 ? input.to : undefined;
    // A server that just came back knows no network yet, and what failed may have failed with one.
    if (round > 1 || this.#context.attempt > 1) await this.#drains.options.networks.refresh({ signal });
    const plan = await this.#context.step(`plan ${round}`, () => this.#drains.plan(input.hostId, { signal, to, tries }));
    for (const line of drainPlanText(plan)) this.#context.log("info", line);
    if (round === 1 && !plan.possible && !input.partial) throw drainRefusal(plan);
    await runMoves(
      this.#context,
      proposed(plan).map((move) => this.#wanted(move)),
      {
        jobs: this.#drains.options.jobs(),
        clock: this.#drains.options.clock,
        concurrency: plan.concurrency,
        batch: `${round}`,
        ended: (outcome) => this.#ended(outcome, plan),
      },
    );
    return plan;
  }

  #wanted(move: PlannedMove): WantedMove {
    const { vmId, vm, destinationId, destination, predictedMs, reason } = move;
    const { hostId, host, waitForCapture } = this.#context.input;
    const input = migrationInput({ ...wishOf(move), sourceId: hostId, source: host, waitForCapture });
    return { vmId, vm, destinationId, destination, predictedMs, why: reason.text, input };
  }

  async #ended(outcome: MoveOutcome, plan: DrainPlan): Promise<void> {
    const { hostId } = this.#context.input;
    const { vmId, vm, destinationId, destination, jobId = "" } = outcome;
    if (outcome.outcome === "moved" || this.#runsThere(outcome)) {
      const storagePool = plan.entries.find((entry) => entry.vmId === vmId)?.storagePool;
      await this.#maintenance.noteMoved(hostId, { vmId, vm, destinationId, destination, storagePool, jobId });
    }
    const same = this.#outcomes.findIndex((known) => known.jobId === jobId && known.vmId === vmId);
    if (same >= 0) this.#outcomes[same] = outcome;
    else this.#outcomes.push(outcome);
    await this.#context.note("moves", this.#outcomes);
  }

  /** Its job may have failed when it had arrived, as one does whose source was lost in that moment. */
  #runsThere({ vmId, destinationId }: Pick<MoveOutcome, "vmId" | "destinationId">): boolean {
    const vms = this.#drains.options.placements.options.hosts.vms();
    return vms.some(({ id, hostId, state }) => id === vmId && hostId === destinationId && state === "running");
  }

  get #maintenance(): Drains["options"]["placements"]["options"]["maintenance"] {
    return this.#drains.options.placements.options.maintenance;
  }

  async #left(): Promise<readonly { readonly id: string; readonly name: string }[]> {
    return await this.#drains.running(this.#context.input.hostId, this.#context.signal);
  }

  async #incomplete(left: readonly { readonly id: string; readonly name: string }[]): Promise<EngineError> {
    const { host } = this.#context.input;
    const checks = left.map(({ id, name }): Check => {
      const failed = this.#outcomes.findLast(({ vmId, outcome }) => vmId === id && outcome !== "moved");
      const text = failed?.error?.message ?? "no host takes it: see the plan in this job's log";
      return { id: name, verdict: "fail", text, remedy: `move it by hand, or shut it down: godwit vm stop ${name}` };
    });
    const names = left.map(({ name }) => name).join(", ");
    return new EngineError("hypervisor", `${left.length} VMs still run on ${host}: ${names}`, { host }, { checks });
  }

  /** The host stays closed when VMs have left it; a drain that moved nothing leaves it as it was. */
  async #stopped(error: unknown): Promise<void> {
    const { id, input, stopping } = this.#context;
    if (stopping.aborted) return;
    const moved = this.#maintenance.get(input.hostId)?.moved.length ?? 0;
    if (moved === 0 && (isCancelled(error) || (error instanceof EngineError && error.kind === "refused"))) return await this.#putBack();
    const text = error instanceof Error ? error.message : String(error);
    await this.#maintenance.enter(input.hostId, { state: "incomplete", reason: { code: "incomplete", text }, jobId: id });
  }

  /** It may have been empty, and closed, before somebody asked again. */
  async #putBack(): Promise<void> {
    const { hostId } = this.#context.input;
    const before = this.#context.recorded("before")?.output as MaintenanceRecord | null | undefined;
    if (!before) return await this.#maintenance.leave(hostId);
    const { state, reason, jobId } = before;
    await this.#maintenance.enter(hostId, { state, reason, jobId });
  }

  #result(plan: DrainPlan, totalMs: number): MovesResult {
    const left = plan.entries.filter(({ verdict }) => verdict === "stay").map(({ vm, reason }) => ({ vm, reason: reason.text }));
    const gone = this.#outcomes.filter(
      ({ outcome, vmId }) => outcome !== "moved" && !this.#outcomes.some((one) => one.vmId === vmId && one.outcome === "moved"),
    );
    const shutDown = gone.map((one) => ({
      vm: one.vm,
      reason: this.#runsThere(one)
        ? `it runs on ${one.destination}, though its move did not end well: ${one.error?.message}`
        : `it does not run here any more, though it did not move: ${one.error?.message}`,
    }));
    const { host, predictedMs, scheduledMs } = plan;
    return { host, moves: this.#outcomes, left: [...left, ...shutDown], totalMs, predictedMs, scheduledMs };
  }
}
