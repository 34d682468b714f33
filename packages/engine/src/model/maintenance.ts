import type { Reason } from "./reason.ts";

/**
 * - `draining`: VMs are leaving it
 * - `drained`: none runs on it any more
 * - `incomplete`: a drain ended before it was empty; `reason` says why
 * - `open`: it takes VMs again, but some that a drain took away are not back
 *
 * No VM may land on it in any of them but `open`.
 */
export type MaintenanceState = "draining" | "drained" | "incomplete" | "open";

/** A VM that a drain took away, so that a resume can bring exactly it back. */
export interface MovedVm {
  readonly vmId: string;
  readonly vm: string;
  readonly destinationId: string;
  readonly destination: string;
  /** Its disks were copied out of this pool of the host. */
  readonly storagePool?: string | undefined;
  /** The migration's job. */
  readonly jobId: string;
}

/** That a host is in maintenance, kept in the store. */
export interface MaintenanceRecord {
  readonly hostId: string;
  readonly state: MaintenanceState;
  /** RFC 3339; of the state. */
  readonly since: string;
  readonly reason: Reason;
  /** The job that brought it into this state. */
  readonly jobId: string;
  readonly moved: readonly MovedVm[];
  /** Ids of the VMs that a resume brings back: they were together there before, whatever the rules say of that. */
  readonly returning?: readonly string[] | undefined;
}
