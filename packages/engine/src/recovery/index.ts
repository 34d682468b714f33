export { recoverJob } from "./job.ts";
export { confirmRecoveryJob, type ConfirmInput, type ConfirmResult, KeptAside, type KeptImages } from "./kept.ts";
export type { RecoveredDisk, RecoverInput, RecoverMode, RecoverResult, RecoverWish } from "./model.ts";
export { Recoveries, type RecoveriesOptions } from "./service.ts";
