import type { JobRecord } from "../jobs/job.ts";
import { median } from "./costs.ts";
import type { DrainPlan } from "./drain-model.ts";
import type { MovesResult } from "./moves.ts";

/** So many drains of the past tell how the next one will go. */
export const rememberedDrains = 5;
/** What is further off was something else than a schedule that knows too little. */
const paces = [0.5, 3] as const;

/**
 * How long drains took over what their schedules had said, as a factor: hosts that are busy with several moves, and what
 * is done besides them, are not in a schedule. The middle of those whose moves all went as planned, by one server; 1 before the first.
 */
export function paceOf(drains: readonly JobRecord[]): number {
  const factors = drains.flatMap(({ result, attempt }) => {
    const { moves = [], totalMs = 0, scheduledMs = 0 } = (result ?? {}) as Partial<MovesResult>;
    const asPlanned = moves.length > 0 && moves.every(({ outcome }) => outcome === "moved");
    return asPlanned && scheduledMs > 0 && !(attempt > 1) ? [totalMs / scheduledMs] : [];
  });
  return Math.min(paces[1], Math.max(paces[0], median(factors) ?? 1));
}

/** The plan with its times as drains here have been going. */
export function atPace(plan: DrainPlan, pace: number): DrainPlan {
  const late = (ms: number | undefined): { readonly startsAtMs?: number } =>
    ms === undefined ? {} : { startsAtMs: Math.round(ms * pace) };
  return {
    ...plan,
    predictedMs: Math.round(plan.scheduledMs * pace),
    entries: plan.entries.map((entry) => ({ ...entry, ...late(entry.startsAtMs) })),
  };
}
