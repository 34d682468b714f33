import type { BlockSource, Extent } from "@godwit/core";
import { EngineError } from "../model/errors.ts";

interface Cancellable {
  readonly signal: AbortSignal;
}

/** A disk that belongs into a recovery point. Sizes in bytes. */
export interface BackupDisk {
  readonly target: string;
  readonly capacityBytes: number;
  /** What of it takes room on its storage, as far as the hypervisor knows. */
  readonly allocatedBytes?: number | undefined;
  readonly format?: string | undefined;
  readonly path?: string | undefined;
  /** Why the hypervisor cannot tell what was written to it; absent: it can. */
  readonly untracked?: string | undefined;
}

/** What a host says of a VM that is to be captured. */
export interface BackupFacts {
  readonly vmId: string;
  readonly name: string;
  readonly state: "running" | "paused" | "off";
  readonly disks: readonly BackupDisk[];
  /** Drives that no recovery point holds, with the reason. */
  readonly leftOut: readonly { readonly target: string; readonly reason: string }[];
  readonly agent: "connected" | "disconnected" | "none";
  /** An operation of somebody else that holds it: `migration out`, `backup`… */
  readonly job?: string | undefined;
  /** A moment of ours whose export is still there. */
  readonly moment?: string | undefined;
  /** Names of every checkpoint that the hypervisor knows of, whoever made it. */
  readonly checkpoints: readonly string[];
}

/** Where a moment of a VM is kept on its host; written down before it is begun, so that it can be undone whatever happens. */
export interface MomentPlace {
  readonly hostId: string;
  /** Unique; part of the name of everything that is made for it. */
  readonly moment: string;
  /** The checkpoint that is made with it. */
  readonly checkpoint: string;
}

/** How a disk's export is to be read. */
export type DiskMode = "full" | "incremental" | "compared";

/** How what an export holds gets to the server. */
export type ExportRoute =
  /** Through the SSH session. */
  | { readonly kind: "ssh" }
  /** Over a network, encrypted or not. The address is the host's. */
  | {
      readonly kind: "tls" | "tcp";
      readonly address: string;
      /** Ports of the host; both included. */
      readonly firstPort: number;
      readonly lastPort: number;
      readonly tls?: ExportTls | undefined;
    };

export interface ExportTls {
  /** A directory of the server with its own credentials. */
  readonly directory: string;
  /** What the host's certificate must be made out to. */
  readonly hostname: string;
  /** A directory of the host with the credentials that it serves with. */
  readonly hostDirectory: string;
}

/** What a host could serve exports with: its certificate as PEM, or why there is none. */
export type HostTls = { readonly directory: string; readonly certificate: string } | { readonly missing: string };

/** The way to an export does not work, or no longer: another one may. */
export class RouteLostError extends Error {
  override readonly name = "RouteLostError";
}

export interface MomentRequest extends MomentPlace {
  readonly disks: readonly { readonly target: string; readonly mode: DiskMode }[];
  /** Of the incremental disks: the checkpoint whose changes are exported. */
  readonly base?: string | undefined;
  /** Ask the guest's agent to hold its file systems still. */
  readonly freeze: boolean;
  /** Bytes that must be free where the guest's overwritten blocks are kept while it is read. */
  readonly scratchBytes: number;
  /** What the VM is, where that was asked a moment ago. */
  readonly facts?: BackupFacts | undefined;
  /** Through the SSH session when absent. */
  readonly route?: ExportRoute | undefined;
}

/** What the guest's own programs (hooks of its agent, VSS writers) said of a freeze. Only `well` proves anything. */
export interface WriterReport {
  readonly outcome: "well" | "failed" | "unknown";
  readonly text: string;
}

/** How a guest was held still. Milliseconds, as the server measured them: what the guest saw is less. */
export interface FreezeReport {
  /** `held`: still from before the moment until after it. `broken`: it ended too early. `refused`: it never was. */
  readonly outcome: "held" | "broken" | "refused" | "not-asked";
  readonly frozenMs: number;
  readonly fileSystems: number;
  readonly text: string;
  /** Of a freeze that was held. */
  readonly writers?: WriterReport | undefined;
}

/** What a disk's export holds and, for an incremental one, where it may differ from the base. */
export interface ExportedDisk {
  readonly target: string;
  readonly mode: DiskMode;
  open(options: Cancellable): Promise<BlockSource>;
  /** Ordered, not overlapping; absent unless the mode is `incremental`. The source must be the one that `open` gave. */
  changed?(source: BlockSource, options: Cancellable): AsyncIterable<Extent>;
}

/** All disks of a VM as they were at one moment, readable until `end`. */
export interface Moment {
  /** RFC 3339, by the server's clock. */
  readonly at: string;
  readonly disks: readonly ExportedDisk[];
  readonly freeze: FreezeReport;
  /** What brings the checkpoint back where the hypervisor lost sight of it; absent when none was made. */
  readonly checkpointXml?: string | undefined;
  /** Of a VM that is off: which of its images somebody wrote to since; undefined: none, as far as their files tell. */
  touched?(options: Cancellable): Promise<string | undefined>;
  /** Where overwritten blocks are kept, bytes that were free there, and for which moment; absent for a VM that is off. */
  readonly scratch?: { readonly directory: string; readonly freeBytes: number; readonly moment: string } | undefined;
}

/** What of a VM is not on its disks. */
export interface MachineState {
  /** The hypervisor's own description. */
  readonly definition: string;
  readonly files: readonly { readonly name: string; readonly data: Uint8Array }[];
  /** What belongs to the machine and is not among them, with the reason. */
  readonly leftOut?: readonly string[];
}

/** A guest's writes since it started: how many, and how long they took together. */
export interface WriteStats {
  readonly requests: number;
  readonly totalMs: number;
}

/** The hypervisor did not come to it: something else holds the VM there for long, but not for ever. */
export class VmBusyError extends EngineError {
  constructor(what: string, options: ErrorOptions) {
    super("hypervisor", `${what}: the hypervisor is busy with the VM`, {}, options);
  }
}

/** Thrown by `begin` when the base checkpoint cannot be used: its list of changes is gone or may have gaps. */
export class BaseLostError extends Error {
  override readonly name = "BaseLostError";
}

/** How one kind of hypervisor shows its VMs to a backup. One for each host connection. */
export interface HostBackup {
  facts(vmId: string, options: Cancellable): Promise<BackupFacts>;
  machine(vmId: string, options: Cancellable): Promise<MachineState>;
  /**
   * Takes all disks at one moment and makes the checkpoint with it. A freeze ends before this resolves or rejects;
   * should the server die, the host's own timer ends it. Rejects with `BaseLostError` when nothing stands in the way
   * but the base, with `RouteLostError` when the route does, as reading the moment may later; whatever it rejects
   * with, `end` undoes.
   */
  begin(vmId: string, request: MomentRequest, options: Cancellable): Promise<Moment>;
  /** What the host could serve exports with. */
  tls(options: Cancellable): Promise<HostTls>;
  /** Bytes still free for overwritten blocks; undefined when nobody can tell. */
  scratchLeft(moment: Moment, options: Cancellable): Promise<number | undefined>;
  /** Undefined when nobody can tell, as of a VM that is off. */
  writeStats(vmId: string, options: Cancellable): Promise<WriteStats | undefined>;
  /**
   * Takes away what `begin` made on the host: freeze, job, export, scratch files; with `forget` the checkpoint, too,
   * whose changes then count to the checkpoint before it; else with the checkpoint `before` it, as `deleteCheckpoint` would.
   * Safe to repeat, also when nothing was begun or the VM is gone.
   */
  end(
    vmId: string,
    place: MomentPlace,
    options: Cancellable & { readonly forget: boolean; readonly before?: string | undefined },
  ): Promise<void>;
  /** Makes the hypervisor know a checkpoint again; false when the disks no longer hold what it needs. */
  restoreCheckpoint(vmId: string, xml: string, options: Cancellable): Promise<boolean>;
  /**
   * Also a damaged one, and one of which only the disks know. No error when there is none such. Of a VM that is off
   * nothing is removed.
   */
  deleteCheckpoint(vmId: string, name: string, options: Cancellable): Promise<void>;
}
