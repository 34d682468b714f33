export { type BalanceInput, type BalanceMove, type BalancePlan, type HostLoad, planBalance } from "./balance.ts";
export { planDrain } from "./drain.ts";
export type { DrainEntry, DrainInput, DrainPlan, DrainRequest, RoomRow } from "./drain-model.ts";
export { drainPlanText } from "./text.ts";
export { clusterBalanceKind, type ClusterBalanceInput } from "./balance-job.ts";
export { hostDrainKind, type HostDrainInput } from "./drain-job.ts";
export { type ChildJobs, Drains, type DrainsOptions } from "./drains.ts";
export type { MoveOutcome, MovesResult } from "./moves.ts";
export { hostResumeKind, type HostResumeInput } from "./resume-job.ts";
