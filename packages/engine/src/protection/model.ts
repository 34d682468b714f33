import type { ConsistencyLevel } from "@godwit/vault";
import type { DiskMode } from "../ports/backup.ts";
import type { Reason } from "../model/reason.ts";
import type { InterfaceProof } from "../migration/model.ts";
import type { Felt } from "./pace.ts";
import type { BackupRoute } from "./routes.ts";

/** A vault as an admin registered it. Its secret stays in the file that it names. */
export interface VaultRecord {
  /** The vault's own id, so that the same vault cannot be registered twice. */
  readonly id: string;
  readonly name: string;
  /** A directory of the server, or a URL. */
  readonly location: string;
  /** A file of the server whose first line is the passphrase. */
  readonly passphraseFile: string;
  /** RFC 3339. */
  readonly addedAt: string;
}

/** From which point on the hypervisor knows a VM's changes. One for each VM and vault, kept in the store. */
export interface TrackingRecord {
  readonly vmId: string;
  readonly vaultId: string;
  readonly pointId: string;
  readonly checkpoint: string;
  /** Brings the checkpoint back after a move or a new definition. */
  readonly xml: string;
  /** By target, which image it was when the point was taken; absent where that is not known. */
  readonly images?: Readonly<Record<string, string>> | undefined;
}

export function trackingId({ vmId, vaultId }: Pick<TrackingRecord, "vmId" | "vaultId">): string {
  return `${vmId} ${vaultId}`;
}

/** The name under which a recovery point keeps its checkpoint: a server that lost its store finds it there. */
export const CHECKPOINT_FILE = "checkpoint.xml";

/** What was asked for, with ids beside names. It is the job's input, and all that a schedule has to make. */
export type CaptureInput = {
  readonly vmId: string;
  readonly vm: string;
  readonly vaultId: string;
  readonly vault: string;
  /** What happens when the VM must move meanwhile: `park` ends the reading and goes on at the destination, `finish` makes the move wait. */
  readonly onMigration: "park" | "finish";
  /** A lesser consistency fails the capture. */
  readonly atLeast: ConsistencyLevel;
  /** Reads no faster than this, bytes a second. */
  readonly bandwidthBytesPerSecond?: number;
  /** The group whose limits hold for it. */
  readonly groupId?: string;
  /** Read all, and compare it with the last point whatever the list of changes says. */
  readonly check?: boolean;
  /** The parked job that this one goes on for. */
  readonly continues?: string;
};

/** How one disk is read, and why. */
export interface DiskPlan {
  readonly target: string;
  readonly mode: DiskMode;
  readonly reason: Reason;
}

/** Sizes in bytes, times RFC 3339 or in milliseconds. */
export interface CapturedDisk extends DiskPlan {
  readonly sizeBytes: number;
  readonly readBytes: number;
}

/** What a consistency check found of one disk. Bytes. */
export interface CheckedDisk {
  readonly target: string;
  /** What differs from the last point. */
  readonly differingBytes: number;
  /** What of it nobody had listed as changed: the last point did not show it, or the list has gaps. Absent without a list. */
  readonly unexpectedBytes?: number;
}

export interface CaptureDone {
  readonly outcome: "captured";
  readonly vmId: string;
  readonly vm: string;
  readonly host: string;
  readonly vaultId: string;
  readonly vault: string;
  readonly pointId: string;
  /** The moment that the point shows. */
  readonly at: string;
  readonly consistency: ConsistencyLevel;
  readonly evidence: readonly string[];
  readonly frozenMs: number;
  readonly disks: readonly CapturedDisk[];
  /** Of a consistency check. */
  readonly check?: readonly CheckedDisk[];
  readonly readBytes: number;
  /** What the vault grew by. */
  readonly storedBytes: number;
  readonly newChunks: number;
  readonly adoptedPacks: number;
  /** What the guest felt: the mean of its writes before and during the capture, and how far it was slowed for that. */
  readonly guest: Felt;
  /** The way by which it was read. */
  readonly route: BackupRoute;
  /** What the host's interfaces carried meanwhile: the proof. */
  readonly interfaces: readonly InterfaceProof[];
  readonly totalMs: number;
}

export interface CaptureParked {
  readonly outcome: "parked";
  readonly vmId: string;
  readonly vm: string;
  /** The job that moves the VM. */
  readonly for: { readonly id: string; readonly title: string };
  /** The job that goes on after it. */
  readonly continuedBy: string;
}

export type CaptureResult = CaptureDone | CaptureParked;
