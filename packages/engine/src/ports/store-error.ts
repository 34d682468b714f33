import { GodwitError } from "@godwit/core";

/**
 * - `lease-lost`: another server holds the job now; this one may write nothing more about it
 * - `conflict`: an idempotency key was used before, for something else
 * - `locked`: another server uses the same database
 * - `newer-schema`: the database was written by a newer Godwit
 * - `not-ours`: the file is a database of something else
 * - `corrupt`: the database is damaged; nothing was changed
 * - `full`: no space left; the change was not made and nothing before it is lost
 * - `io`: the disk or the database server failed; the change was not made
 * - `closed`: the store was closed
 */
export type StoreErrorKind = "lease-lost" | "conflict" | "locked" | "newer-schema" | "not-ours" | "corrupt" | "full" | "io" | "closed";

/** An error of a `Store`. A write that rejects with one was not made. */
export class StoreError extends GodwitError<StoreErrorKind> {
  override readonly name = "StoreError";
}
