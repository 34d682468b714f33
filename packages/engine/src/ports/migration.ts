import type { HostShell } from "./shell.ts";
import type { PauseContract } from "../migration/contract.ts";
import type { VmFacts } from "../model/vm.ts";
import type { HypervisorHost } from "./hypervisor.ts";
import type { DiskMoves, OfflineMoves } from "./offline.ts";
import type { ThrowawayGuests } from "./throwaway.ts";

interface Cancellable {
  readonly signal: AbortSignal;
}

/** A disk to copy, and the storage pool of the destination that it goes to. */
export interface CopyWish {
  readonly target: string;
  readonly pool: string;
}

/** One snapshot of a VM. `memory` says where the guest's memory at that moment is. */
export interface SnapshotFacts {
  readonly name: string;
  readonly memory: "none" | "in-disk" | "file";
  /** Its disks are files of their own, which the VM's definition does not name. */
  readonly externalDisks: boolean;
}

/** One disk of a VM that may have to be found, or copied, on the other host. Sizes in bytes. */
export interface MovableDisk {
  readonly target: string;
  readonly device: "disk" | "cdrom" | "floppy" | "lun";
  /** `file`, `block`, `volume`, `network`… */
  readonly type: string;
  readonly path?: string | undefined;
  readonly format?: string | undefined;
  readonly readOnly: boolean;
  readonly shareable: boolean;
  readonly capacityBytes: number;
  /** Paths of the images below, nearest first. */
  readonly backing: readonly string[];
  /** A block job that is running on it. */
  readonly blockJob?: string | undefined;
}

/** What the source says of a VM that is to move. */
export interface SourceFacts {
  readonly vm: VmFacts;
  readonly disks: readonly MovableDisk[];
  readonly nics: readonly { readonly mac: string; readonly type: string; readonly source?: string | undefined }[];
  /** What ties it to this very machine: passed-through devices, host folders, shared memory; for people. */
  readonly ties: readonly string[];
  /** Small files besides disks that the destination must have as well: NVRAM. */
  readonly files: readonly string[];
  /** An operation that holds it: `backup`, `migration out`, `snapshot`… */
  readonly job?: string | undefined;
  readonly snapshots: readonly SnapshotFacts[];
  /** State besides disks and files that only its host keeps, and only a live migration takes along: a TPM's. */
  readonly keptByHost: readonly string[];
  /** It is off, but its memory was saved: starting it resumes it. */
  readonly savedMemory: boolean;
  /** Opaque to all but the adapter. */
  readonly definition: unknown;
}

/** What the destination says of that VM. */
export interface DestinationFacts {
  readonly sameUuid?: { readonly name: string; readonly active: boolean } | undefined;
  /** The id of another VM that has its name. */
  readonly sameName?: string | undefined;
  readonly cpu: { readonly fits: boolean | "unknown"; readonly missing: readonly string[]; readonly text: string };
  readonly machine: { readonly known: boolean; readonly text: string };
  readonly freeMemoryBytes?: number | undefined;
  /** By `type source` of each NIC: is it there and active? */
  readonly nics: readonly { readonly type: string; readonly source: string; readonly present: boolean | "unknown" }[];
  /** Those that disks are to be copied into. */
  readonly pools: readonly PoolThere[];
  /** Of the VM's small files, by path: the name of another VM that uses it there. */
  readonly filesOfOthers?: Readonly<Record<string, string>> | undefined;
}

export interface PoolThere {
  readonly name: string;
  readonly present: boolean;
  readonly active: boolean;
  readonly path?: string | undefined;
  readonly availableBytes: number;
  /** Names of the files it already has that the copies would need. */
  readonly taken: readonly string[];
}

/** What is to be different on the destination. */
export interface WantedThere {
  readonly copies: readonly CopyWish[];
  /** What network cards plug into there, old name to new one. */
  readonly networks: Readonly<Record<string, string>>;
}

/** How the memory goes over the wire; a hypervisor that cannot do it refuses the move. */
export interface MoveTransport {
  readonly parallelConnections?: number | undefined;
  /** Methods of the hypervisor: `xbzrle`, `mt`, `zlib`, `zstd`. */
  readonly compression?: string | undefined;
  readonly tls: boolean;
  /** The kernel sends the guest's memory without copying it first; needs several streams, and memory that may be locked. */
  readonly zeroCopy: boolean;
}

/** Bytes, bytes per second; absent when the hypervisor does not tell. */
export interface Measured {
  readonly residentBytes?: number;
  readonly dirtyBytesPerSecond?: number;
}

export interface MoveRequest {
  readonly vmId: string;
  /** Address of the destination on the chosen network: memory and storage go there, and it listens only there. */
  readonly destinationAddress: string;
  /** Copy these disks; all others are shared. */
  readonly copies: readonly CopyWish[];
  /** What network cards plug into there, old name to new one. */
  readonly networks: Readonly<Record<string, string>>;
  /** Every disk that is not copied was proven to be the same file on both hosts, whatever the hypervisor thinks of its file system. */
  readonly sharingProven: boolean;
  readonly bandwidthBytesPerSecond?: number | undefined;
  readonly contract: PauseContract;
  /** What of the pause passes whatever is left to send, as far as past moves tell; milliseconds. */
  readonly switchoverMs?: number | undefined;
  readonly transport: MoveTransport;
  /** How the source reaches the destination's hypervisor; absent: the server drives. */
  readonly peerUri?: string | undefined;
}

/** Bytes, bytes per second, milliseconds. */
export interface MoveProgress {
  readonly memoryTotalBytes: number;
  readonly memoryProcessedBytes: number;
  readonly memoryRemainingBytes: number;
  readonly diskTotalBytes: number;
  readonly diskProcessedBytes: number;
  readonly diskRemainingBytes: number;
  readonly bytesPerSecond?: number | undefined;
  readonly dirtyBytesPerSecond?: number | undefined;
  readonly rounds?: number | undefined;
  readonly pauseMs?: number | undefined;
  readonly throttlePercent?: number | undefined;
  /** The pause that the hypervisor was last allowed to aim at. */
  readonly pauseLimitMs?: number | undefined;
  /** What had to be done for the pause's sake, for people. */
  readonly atLast?: string | undefined;
}

/**
 * `images`: those that the copies go into are made; whoever reports a failure of that has removed them again. `suspend`: the
 * guest is paused on the source, for the rest to fit.
 */
export type MovePhase = "images" | "prepare" | "perform" | "suspend" | "finish" | "confirm";

/**
 * The last phase of a move, in which the guest stands still for what is left, is short only while the hosts have time
 * for it: guests take turns.
 */
export interface SwitchoverTurn {
  /** When it has to be this guest's turn: all its memory is sent within no time, or there is time to ask on the way. */
  readonly before: "perform" | "switchover";
  /** Nobody else is on the way to the same host now: there is nothing to hold back for. */
  readonly alone: boolean;
  /** Resolves when it is, or after so long that it does not matter any more. */
  take(signal: AbortSignal): Promise<void>;
  /** It runs there, or stays. May be repeated. */
  end(): void;
}

export interface MoveHooks {
  /** Absent: it need not wait for others. */
  readonly turn?: SwitchoverTurn | undefined;
  /** Of the source: ends connections over a dead link, which the hypervisor itself would wait for. */
  readonly shell?: HostShell | undefined;
  /** Awaited before the phase begins, so that it is on record; `finish` alone begins beside it, as the guest stands still. */
  phase(phase: MovePhase): Promise<void>;
  progress(progress: MoveProgress): void;
}

/** Thrown by `move`. `connected` is false when not one byte of the guest could be sent: another network may do. */
export class MoveError extends Error {
  override readonly name = "MoveError";
  readonly connected: boolean;
  constructor(message: string, connected: boolean, options?: ErrorOptions) {
    super(message, options);
    this.connected = connected;
  }
}

/**
 * What one host says of one VM, in the words that decide where it lives.
 * `incoming`: there, but waiting for its memory. `moving`: a migration out of this host, or
 * the saving of its memory, is still under way. `ended`: the guest shut down or was ended by hand, after whatever was saved of it.
 */
export type Sighting =
  | { readonly presence: "unknown"; readonly text: string }
  | { readonly presence: "absent" }
  | { readonly presence: "inactive"; readonly movedAway: boolean; readonly ended?: boolean }
  | { readonly presence: "incoming" }
  | { readonly presence: "running"; readonly moving: boolean }
  | { readonly presence: "paused"; readonly by: "migration" | "other"; readonly moving: boolean };

/** How one kind of hypervisor moves its VMs. One for each host connection. */
export interface HostMigration extends OfflineMoves, DiskMoves, ThrowawayGuests {
  source(vmId: string, options: Cancellable): Promise<SourceFacts>;
  /** Asked for no seconds, it does not measure how fast memory changes, which takes as long. */
  measure(vmId: string, options: Cancellable & { readonly seconds: number }): Promise<Measured>;
  /** Asked of the destination. */
  judge(source: SourceFacts, wanted: WantedThere, options: Cancellable): Promise<DestinationFacts>;
  /** Asked of the source: its definition is as it was then, it runs, and nothing holds it or was added to it. */
  unchanged(source: SourceFacts, options: Cancellable): Promise<boolean>;
  /** Asked of the destination: what changes soonest of what it said then. */
  judgeAgain(source: SourceFacts, options: Cancellable): Promise<Pick<DestinationFacts, "sameUuid" | "sameName" | "freeMemoryBytes">>;
  /**
   * Moves the VM; resolves when it runs on the destination and the source has let go. On abort the move is
   * given up and the guest stays where it is, unless it was too late. Rejects with a `MoveError`, after which
   * the truth must be looked up with `sighting`: the error may be the way back of good news.
   */
  move(destination: HypervisorHost, request: MoveRequest, hooks: MoveHooks, options: Cancellable): Promise<MoveProgress>;
  /** Never rejects: what cannot be asked is `unknown`. */
  sighting(vmId: string, options: Cancellable): Promise<Sighting>;
  /** What the hypervisor may pause this guest for when it is next migrated by whoever names no limit, milliseconds. */
  limitPause(vmId: string, pauseMs: number, options: Cancellable): Promise<void>;
  /** Lets a guest that a migration paused run on. */
  resume(vmId: string, options: Cancellable): Promise<void>;
  /** Removes an incoming VM that never ran here. A definition that was here before stays. */
  discard(vmId: string, options: Cancellable): Promise<void>;
  /** Removes what is left on the source of a VM that runs elsewhere: the paused process and the definition. */
  forget(vmId: string, options: Cancellable): Promise<void>;
  /** Deletes disk files that are in a storage pool; gives those it could not delete, with the reason. */
  deleteDisks(paths: readonly string[], options: Cancellable): Promise<{ readonly path: string; readonly reason: string }[]>;
  /** Where copies of these disks are in the pools of this host. */
  copyPaths(source: SourceFacts, copies: readonly CopyWish[], options: Cancellable): Promise<string[]>;
}
