import type { InterfaceProof } from "../migration/model.ts";
import type { BackupRoute } from "../protection/index.ts";
import type { Reason } from "../model/reason.ts";

/**
 * `new`: a VM beside what is there. `replace`: the VM gets new images, the old ones are kept aside. `in-place`: only
 * what differs is written into its images. `disk`: images only, no VM.
 */
export type RecoverMode = "new" | "replace" | "in-place" | "disk";

/** What was asked for, with ids beside names. It is the job's input. */
export type RecoverInput = {
  readonly mode: RecoverMode;
  readonly pointId: string;
  readonly vaultId: string;
  readonly vault: string;
  /** The VM's name in the recovery point. */
  readonly captured: string;
  readonly hostId: string;
  readonly host: string;
  /** Of the VM that will be; for `disk` of nobody. */
  readonly vmId: string;
  readonly vm: string;
  readonly newIdentity: boolean;
  readonly storagePool?: string;
  /** Absent: all. */
  readonly disks?: readonly string[];
  readonly networks: Readonly<Record<string, string>>;
  readonly start: boolean;
  /** The old images of a replaced VM stay until an admin confirms, not only until it boots. */
  readonly keepOld?: boolean;
};

/** As a client asks. Names or ids. */
export interface RecoverWish {
  readonly point: string;
  readonly vault?: string | undefined;
  readonly mode?: RecoverMode | undefined;
  readonly to?: string | undefined;
  readonly storagePool?: string | undefined;
  readonly name?: string | undefined;
  readonly newIdentity?: boolean | undefined;
  readonly disks?: readonly string[] | undefined;
  readonly networks?: Readonly<Record<string, string>> | undefined;
  readonly start?: boolean | undefined;
  readonly keepOld?: boolean | undefined;
}

/** Sizes in bytes. */
export interface RecoveredDisk {
  readonly target: string;
  readonly path: string;
  readonly sizeBytes: number;
  readonly writtenBytes: number;
  /** Held already; of an in-place recovery. */
  readonly keptBytes: number;
}

export interface RecoverResult {
  readonly outcome: "recovered";
  readonly mode: RecoverMode;
  readonly pointId: string;
  readonly vault: string;
  /** The moment that it shows now. */
  readonly at: string;
  readonly vmId: string;
  readonly vm: string;
  readonly host: string;
  readonly disks: readonly RecoveredDisk[];
  /** Images that the VM had before; they go once it has proven itself. */
  readonly keptAside: readonly string[];
  readonly started: boolean;
  /** The way by which they were written; the last one where several were needed. */
  readonly route: BackupRoute;
  /** What the host's interfaces carried meanwhile: the proof. */
  readonly interfaces: readonly InterfaceProof[];
  /** Whether the next capture reads only changes, or why not. */
  readonly tracking: Reason;
  readonly totalMs: number;
}
