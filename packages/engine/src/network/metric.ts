import type { NetworkRole } from "../model/network.ts";
import type { Reason } from "../model/reason.ts";
import type { Member } from "./candidates.ts";

const base: Record<NetworkRole, number> = { cluster: 40_000, "cluster-and-client": 80_000, none: 120_000 };
const RDMA_BONUS = 19_200;
const PER_GIGABIT = 16;
const MAX_SPEED_BONUS = 9600;

export interface Metric {
  readonly metric: number;
  readonly reason: Reason;
}

/**
 * The automatic metric, after Windows Server 2012 R2's: 40000 for cluster-only and 80000 for
 * cluster-and-client networks (120000 for those not to be used); less 19200 when every interface has RDMA;
 * less 16 for each Gbit/s of the slowest interface when that is above 1 Gbit/s. Lower is preferred.
 */
export function automaticMetric(role: NetworkRole, members: readonly Member[]): Metric {
  const speeds = members.map(({ interface: { speedMbps } }) => speedMbps).filter((speed) => speed !== undefined);
  const slowest = Math.min(...speeds);
  const gigabits = speeds.length > 0 && slowest > 1000 ? Math.floor(slowest / 1000) : 0;
  const speedBonus = Math.min(gigabits * PER_GIGABIT, MAX_SPEED_BONUS);
  const rdma = members.length > 0 && members.every(({ interface: each }) => each.rdma);
  const parts = [
    `${base[role]} for role ${role}`,
    ...(rdma ? [`less ${RDMA_BONUS} for RDMA on every interface`] : []),
    ...(speedBonus > 0 ? [`less ${speedBonus} for ${gigabits} Gbit/s`] : []),
    ...(speeds.length === 0 ? ["no driver tells a speed"] : []),
  ];
  return {
    metric: base[role] - (rdma ? RDMA_BONUS : 0) - speedBonus,
    reason: { code: "automatic", text: `automatic: ${parts.join(", ")}` },
  };
}

export function manualMetric(metric: number): Metric {
  return { metric, reason: { code: "manual", text: "set by the admin" } };
}
