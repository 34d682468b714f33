import { defaultMaximumPauseMs, type PauseContract, type PausePolicy } from "./contract.ts";
import type { Forecast } from "./forecast.ts";
import type { NetworkVerdict } from "../model/network.ts";
import type { ChosenTransport } from "./transport.ts";
import type { Check, Reason } from "../model/reason.ts";
import type { CopyWish, MoveTransport } from "../ports/migration.ts";

/** `quick` saves the memory, moves it and goes on there; `cold` moves a VM that is off. */
export type MigrationKind = "live" | "quick" | "cold";

/** What was asked for, with ids instead of names. It is the job's input. */
export type MigrationInput = {
  readonly vmId: string;
  readonly vm: string;
  readonly sourceId: string;
  readonly source: string;
  readonly destinationId: string;
  readonly destination: string;
  /** Absent in jobs of before there were others: live. */
  readonly kind?: MigrationKind;
  /** Every disk that can be copied goes into this pool. */
  readonly storagePool?: string;
  /** These disks, by target, go into these pools. */
  readonly storageByDisk?: Readonly<Record<string, string>>;
  /** What network cards plug into there, old name to new one. */
  readonly networkMap?: Readonly<Record<string, string>>;
  readonly peerToPeer: boolean;
  readonly bandwidthBytesPerSecond?: number;
  readonly autoConverge: boolean;
  readonly maximumPauseMs?: number;
  /** Absent: `auto-converge` when that was asked for, else `strict`. */
  readonly policy?: PausePolicy;
  readonly parallelConnections?: number;
  readonly compression?: string;
  readonly tls?: boolean;
  readonly zeroCopy?: boolean;
  /** Files of a VM that stands still go from host to host. */
  readonly carryFiles?: boolean;
  /** A capture that runs ends first, instead of being parked. */
  readonly waitForCapture?: boolean;
};

/** A VM that a job moves now, and where to. */
export type Arrival = Pick<MigrationInput, "vmId" | "destinationId">;

export function isOffline({ kind }: Pick<MigrationInput, "kind">): boolean {
  return kind === "quick" || kind === "cold";
}

export function copiesDisks({ storagePool, storageByDisk }: Pick<MigrationInput, "storagePool" | "storageByDisk">): boolean {
  return storagePool !== undefined || Object.keys(storageByDisk ?? {}).length > 0;
}

/** The pause that a live migration may take, and what happens when that is not enough. */
export function contractOf(input: Pick<MigrationInput, "maximumPauseMs" | "policy" | "autoConverge">): PauseContract {
  return {
    maximumPauseMs: input.maximumPauseMs ?? defaultMaximumPauseMs,
    policy: input.policy ?? (input.autoConverge ? "auto-converge" : "strict"),
  };
}

type AskedTransport = Pick<MigrationInput, "parallelConnections" | "compression" | "tls" | "zeroCopy">;

/** How the bytes go over the wire, as far as that was asked for. One stream and no compression are asked for by 1 and `none`. */
export function transportOf({
  parallelConnections = 1,
  compression = "none",
  tls = false,
  zeroCopy = false,
}: AskedTransport): MoveTransport {
  return {
    parallelConnections: parallelConnections > 1 ? parallelConnections : undefined,
    compression: compression === "none" ? undefined : compression,
    tls,
    zeroCopy,
  };
}

/** As a client asks. Hosts and VM by id or name. */
export interface MigrationWish {
  readonly vm: string;
  readonly to: string;
  /** Absent: live when it runs, cold when it is off. */
  readonly kind?: MigrationKind | undefined;
  readonly storagePool?: string | undefined;
  readonly storageByDisk?: Readonly<Record<string, string>> | undefined;
  readonly networkMap?: Readonly<Record<string, string>> | undefined;
  readonly peerToPeer?: boolean | undefined;
  readonly bandwidthBytesPerSecond?: number | undefined;
  readonly autoConverge?: boolean | undefined;
  readonly maximumPauseMs?: number | undefined;
  readonly policy?: PausePolicy | undefined;
  readonly parallelConnections?: number | undefined;
  readonly compression?: string | undefined;
  readonly tls?: boolean | undefined;
  readonly zeroCopy?: boolean | undefined;
  readonly carryFiles?: boolean | undefined;
  readonly waitForCapture?: boolean | undefined;
}

export interface MigrationPlan {
  readonly vmId: string;
  readonly vm: string;
  readonly sourceId: string;
  readonly source: string;
  readonly destinationId: string;
  readonly destination: string;
  readonly kind: MigrationKind | "shared-nothing";
  readonly copies: DiskCopyPlan[];
  readonly networks: NetworkVerdict[];
  readonly checks: Check[];
  readonly possible: boolean;
  /** Of every move that may begin. */
  readonly forecast?: Forecast;
  /** Of a live move that may begin: how its memory goes over the wire, and why so. */
  readonly transport?: ChosenTransport;
}

/** A disk that is copied: from where, and into which pool of the destination. */
export interface DiskCopyPlan {
  readonly target: string;
  readonly from: string;
  readonly pool: string;
}

/** Where the memory of a guest is while it is moved quickly: on storage that both hosts share, or copied. */
export interface MemoryFile {
  readonly path: string;
  readonly copyTo?: { readonly pool: string; readonly name: string; readonly path: string };
}

/** A file besides disks that is copied along, to the same path. `replaces`: one that is there already, and no VM uses. */
export interface SmallFile {
  readonly path: string;
  readonly replaces: boolean;
}

/** What the executor needs of a plan besides what the admin sees. */
export interface ReadyPlan {
  readonly plan: MigrationPlan;
  readonly copies: readonly CopyWish[];
  /** Where the copies will be on the destination, and where they come from. */
  readonly copyPaths: readonly string[];
  readonly sourcePaths: readonly string[];
  readonly sharingProven: boolean;
  /** Absent in jobs of before there were any. */
  readonly smallFiles?: readonly SmallFile[];
  readonly autostart: boolean;
  /** What it is for needs a VM-Generation-ID, and it has none: a VM that is off gets one on the way. */
  readonly addGenerationId?: boolean;
  /** Only of a quick migration. */
  readonly memory?: MemoryFile;
}

/** Bytes since the start of the move. */
export interface InterfaceProof {
  readonly hostId: string;
  readonly host: string;
  readonly interface: string;
  readonly networkId?: string;
  readonly network?: string;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** Bytes. The digest is the content's, see docs/decisions/0040-moving-without-running.md. */
export interface FileProof {
  readonly from: string;
  readonly to: string;
  readonly bytes: number;
  readonly dataBytes: number;
  readonly digest: string;
}

export interface MigrationAttempt {
  readonly networkId: string;
  readonly network: string;
  readonly destinationAddress: string;
  readonly outcome: "carried" | "no-connection" | "failed" | "cancelled";
  readonly reason: Reason;
}

/** Times RFC 3339 or in milliseconds, sizes in bytes. */
export interface MigrationResult {
  readonly vmId: string;
  readonly vm: string;
  readonly source: string;
  readonly destination: string;
  readonly kind: MigrationKind | "shared-nothing";
  readonly driver: "server" | "peer-to-peer";
  /** Absent when nothing went from host to host, or only over the server's own connections. */
  readonly networkId?: string;
  readonly network?: string;
  readonly destinationAddress?: string;
  readonly attempts: readonly MigrationAttempt[];
  readonly startedAt: string;
  readonly endedAt: string;
  readonly totalMs: number;
  /** Besides, it waited for so long until other guests' pauses were over, running on. */
  readonly waitedMs?: number;
  /** While the hypervisor sent memory and disks, the pause included. */
  readonly sendMs?: number;
  readonly pauseMs?: number;
  /** What was promised, and whether it was held; `atLast` says what had to be done for it, `throttlePercent` by how much at most the guest was slowed. */
  readonly contract?: PauseContract & {
    readonly held?: boolean;
    readonly limitMs?: number;
    readonly throttlePercent?: number;
    readonly atLast?: string;
  };
  /** What was said before the start. */
  readonly forecast?: Forecast;
  readonly rounds?: number;
  readonly dirtyBytesPerSecond?: number;
  /** How the memory went over the wire. */
  readonly transport?: MoveTransport;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly interfaces: readonly InterfaceProof[];
  /** Files that were copied, each read back and compared. */
  readonly files?: readonly FileProof[];
  readonly proof: string;
}
