export { abortReason, anySignal, raceAbort, withDeadline } from "./abort.ts";
export {
  BlockError,
  type BlockErrorKind,
  type BlockSink,
  type BlockSource,
  type Extent,
  type LendingSource,
  type Lent,
  type LentPiece,
} from "./block.ts";
export { type Clock, systemClock } from "./clock.ts";
export { CancelledError, describeError, type ErrorContext, GodwitError, isCancelled, toError } from "./errors.ts";
export { canonicalJson, type Json, type JsonObject } from "./json.ts";
export { BoundedQueue, type Overflow, type Queued } from "./queue.ts";
export { Semaphore } from "./semaphore.ts";
