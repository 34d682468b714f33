export { migrationJob } from "./job.ts";
export { peerUri } from "./peer.ts";
export type { PauseContract, PausePolicy } from "./contract.ts";
export type { Forecast, ForecastOption } from "./forecast.ts";
export type { Measuring } from "./forecast-service.ts";
export type { YieldingJob } from "./preflight.ts";
export { contentionOf, withCrowds } from "./crowd.ts";
export { shortSendMs } from "./turns.ts";
export { type PastLiveMove, type PastMove, pastMoveOf } from "./history.ts";
export { diskFormats, type DiskFormat } from "./storage-plan.ts";
export { resolveStorageMove, storageMoveJob, type StorageMoveInput, type StorageMoveResult, type StorageMoveWish } from "./storage-job.ts";
export type {
  Arrival,
  FileProof,
  InterfaceProof,
  MigrationKind,
  MigrationAttempt,
  MigrationInput,
  MigrationPlan,
  MigrationResult,
  MigrationWish,
} from "./model.ts";
export { type GenerationIdResult, type MigrationHosts, type MigrationNetworks, Migrations, type MigrationsOptions } from "./service.ts";
