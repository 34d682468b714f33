import type { JsonObject } from "@godwit/core";
import type { JobKind } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { BalanceMove } from "./balance.ts";
import type { Drains } from "./drains.ts";
import { migrationInput } from "./migration-input.ts";
import { type MovesResult, runMoves, type WantedMove } from "./moves.ts";

export interface ClusterBalanceInput extends JsonObject {
  /** Fraction of a host's memory above which it is relieved. */
  readonly actAbove: number;
}

/** The job that relieves hosts that are too full: one move after the other, as its plan says. */
export function clusterBalanceKind(drains: Drains): JobKind<ClusterBalanceInput> {
  return {
    kind: "cluster.balance",
    title: () => "Balance the cluster",
    subject: () => ({ type: "cluster", id: "cluster", name: "cluster" }),
    locks: () => ["cluster:balance"],
    slots: () => [],
    async run(context): Promise<MovesResult> {
      const { signal, input } = context;
      const { clock, jobs } = drains.options;
      const { moves, reason, startedAt } = await context.step("plan", async () => {
        signal.throwIfAborted();
        return { startedAt: clock.now(), ...(await drains.planBalance({ signal, actAbove: input.actAbove })) };
      });
      await context.reason({ code: "balance", text: reason });
      const wanted = moves.map((move): WantedMove => ({ ...move, why: move.reason, input: migrationInput(inputOf(move)) }));
      const outcomes = await runMoves(context, wanted, {
        jobs: jobs(),
        clock,
        concurrency: 1,
        batch: "balance",
        ended: () => Promise.resolve(),
      });
      const failed = outcomes.filter(({ outcome }) => outcome !== "moved");
      if (failed.length > 0) {
        const texts = failed.map(({ vm, error }) => `${vm}: ${error?.message}`).join("; ");
        throw new EngineError("hypervisor", `${failed.length} of ${outcomes.length} moves did not succeed: ${texts}`);
      }
      return { moves: outcomes, left: [], totalMs: Math.max(0, clock.now() - startedAt) };
    },
  };
}

function inputOf({
  vmId,
  vm,
  sourceId,
  source,
  destinationId,
  destination,
  maximumPauseMs,
  pausePolicy,
}: BalanceMove): Parameters<typeof migrationInput>[0] {
  return { vmId, vm, sourceId, source, destinationId, destination, maximumPauseMs, pausePolicy };
}
