export { atOnce, type Bounded, type ServerMachine } from "./at-once.ts";
export { captureJob } from "./capture-job.ts";
export type {
  CapturedDisk,
  CheckedDisk,
  CaptureDone,
  CaptureInput,
  CaptureParked,
  CaptureResult,
  DiskPlan,
  TrackingRecord,
  VaultRecord,
} from "./model.ts";
export * from "./files/index.ts";
export * from "./groups/index.ts";
export { findPoint, type FoundPoint, listFoundPoints } from "./points.ts";
export { type CapturePlan, judgeConsistency, planCapture, type PlanInput, type Verdict } from "./plan.ts";
export { Captures, type CapturesOptions, type CaptureWish, type ProtectionHosts, type WaitingMove } from "./service.ts";
export { type BackupRoute, planRoutes, type RouteFacts, type UsableRoute } from "./routes.ts";
export { type BackupTraffic, networkTraffic, sshOnly } from "./traffic.ts";
export { planStorage, type PlannedVm, type StoragePlan, type StoragePlanInput } from "./storage-plan.ts";
export { gcJob, type GcInput, retainJob, type RetainInput, type RetainResult } from "./retention-job.ts";
export { type VaultAccess, type VaultAdd, Vaults } from "./vaults.ts";
