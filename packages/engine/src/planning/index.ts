export { type BalanceInput, type BalanceMove, type BalancePlan, type HostLoad, planBalance } from "./balance.ts";
export { planDrain } from "./drain.ts";
export type { DrainEntry, DrainInput, DrainPlan, DrainRequest, RoomRow } from "./drain-model.ts";
export { drainPlanText } from "./text.ts";
