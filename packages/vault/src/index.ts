export { isDamage, VaultError, type VaultErrorKind } from "./errors.ts";
export { type ConsistencyLevel, type Point, type PointDisk, type PointMachine, pointToJson } from "./format/point.ts";
export type { Hold } from "./format/hold.ts";
export type { NewSlot, SlotInfo } from "./keys/keys.ts";
export { makeRecoveryCode, parseRecoveryCode } from "./keys/recovery-code.ts";
export type { Argon2Cost, Secret, SlotKind } from "./keys/slot.ts";
export { type CopyOptions, copyPoints, type CopyProgress, type CopyResult } from "./ops/copy.ts";
export { type GcOptions, type GcProgress, type GcResult, gcDefaults } from "./ops/gc/gc.ts";
export type { LockRequest, LockResult } from "./ops/lock.ts";
export type { RewriteEpochsResult } from "./ops/rewrite-epochs.ts";
export type { HoldStatus, StatusOptions, VaultStatus } from "./ops/status.ts";
export type { HoldRequest } from "./ops/holds.ts";
export { diskOf, type PointList } from "./ops/points.ts";
export type { PruneResult } from "./ops/prune/apply.ts";
export { planPrune, type PruneFacts, type PrunePlan, type PrunePolicies, type PrunePolicy, type PruneVerdict } from "./ops/prune/plan.ts";
export type { PutDisk, PutOptions, PutProgress, PutRequest } from "./ops/put.ts";
export type { RestoreOptions, RestoreProgress, RestoreResult } from "./ops/restore.ts";
export type { RepairResult } from "./ops/repair.ts";
export type { HurtDisk, VerifyOptions, VerifyProgress, VerifyResult } from "./ops/verify.ts";
export { type Compression, compressions, type Tuning } from "./parts.ts";
export {
  type BlobInfo,
  type BlobStore,
  checkBlobName,
  checkBlobPrefix,
  isNotFound,
  isRetryable,
  type PutOptions as BlobPutOptions,
  StoreError,
  type StoreErrorKind,
} from "./store/blob-store.ts";
export { LocalStore, type LocalStoreOptions } from "./store/local-store.ts";
export { openStore, type OpenStoreOptions } from "./store/open-store.ts";
export { CachingStore, type CacheOptions } from "./store/caching-store.ts";
export { LimitedStore, type StoreLimits } from "./store/limited-store.ts";
export { type RetryOptions, RetryStore } from "./store/retry-store.ts";
export { type InitOptions, type OpenOptions, Vault } from "./vault.ts";
export { prepareThreads } from "./work/threads.ts";
export { FileImage } from "./file/image.ts";
export { FileTarget } from "./file/target.ts";
