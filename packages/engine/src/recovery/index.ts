export { recoverJob } from "./job.ts";
export type { RecoveredDisk, RecoverInput, RecoverMode, RecoverResult, RecoverWish } from "./model.ts";
export { Recoveries, type RecoveriesOptions } from "./service.ts";
