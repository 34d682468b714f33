import type { HypervisorHost } from "./hypervisor.ts";

interface Cancellable {
  readonly signal: AbortSignal;
}

/** How a definition changes on its way to another host, or to other storage. */
export interface Mapping {
  /** Disks by target, with the image and format that they have afterwards. */
  readonly disks: readonly DiskMapping[];
  /** What network cards plug into, old name to new one. */
  readonly networks: Readonly<Record<string, string>>;
  /** It is given a VM-Generation-ID, unless it has one. */
  readonly generationId?: boolean;
}

export interface DiskMapping {
  readonly target: string;
  readonly path: string;
  readonly format?: string | undefined;
}

/**
 * All that makes a VM that is off: its definition and the records of its snapshots and checkpoints, roots
 * first. Opaque to all but the adapter; it may hold secrets and is never written down.
 */
export interface Carried {
  readonly vmId: string;
  readonly definition: string;
  readonly snapshots: readonly { readonly xml: string; readonly current: boolean }[];
  readonly checkpoints: readonly string[];
}

/** A file to copy into a storage pool of another host, byte for byte. */
export interface FileCopy {
  readonly from: string;
  readonly pool: string;
  readonly name: string;
}

/** What a copy came to. `digest` is the same for every file with the same content, however its holes lie. */
export interface CopiedFile {
  readonly path: string;
  /** Length of the file, and how much of it was data, in bytes. */
  readonly bytes: number;
  readonly dataBytes: number;
  readonly digest: string;
}

/** One disk's way to another image on the same host. */
export interface DiskCopy {
  readonly target: string;
  readonly from: string;
  readonly pool: string;
  readonly name: string;
  readonly to: string;
  readonly format: string;
  /** Of the original; absent: the same. */
  readonly fromFormat?: string | undefined;
  readonly capacityBytes: number;
}

/** Where a copy of a running disk is: `absent` means that no such copy is under way, nor was it switched over to. */
export type DiskCopyState =
  | { readonly phase: "absent" }
  | { readonly phase: "copying" | "ready"; readonly doneBytes: number; readonly totalBytes: number }
  | { readonly phase: "switched" };

/** What moves VMs that do not run, and those that may stand still for a while. */
export interface OfflineMoves {
  /** Reads what {@link define} needs. Rejects with `conflict` while the VM has no definition. */
  carried(vmId: string, options: Cancellable): Promise<Carried>;
  /** Defines the VM with its snapshots and checkpoints; neither started nor started with the host. */
  define(carried: Carried, mapping: Mapping, options: Cancellable): Promise<void>;
  /** Removes the definition of a VM that is off; disks stay. Nothing happens when there is none. */
  undefine(vmId: string, options: Cancellable): Promise<void>;
  /**
   * Lets go of a VM that is off. Rejects with `conflict`, its definition back in place, when somebody started
   * it in the same moment.
   */
  release(vmId: string, options: Cancellable): Promise<void>;
  /** Gives its definition a VM-Generation-ID, unless it has one. A guest that runs gets it when it is started anew. */
  ensureGenerationId(vmId: string, options: Cancellable): Promise<"there" | "added" | "at-next-start">;
  /** Starts the VM with the host, or no longer. */
  setAutostart(vmId: string, on: boolean, options: Cancellable): Promise<void>;
  /**
   * Writes the memory of a running guest to a new file and ends its process. When that fails, or the daemon
   * dies meanwhile, the guest goes on. An abort asks the daemon to give up; the guest then goes on, too.
   */
  save(
    vmId: string,
    file: string,
    options: Cancellable & { readonly progress: (doneBytes: number, totalBytes: number) => void },
  ): Promise<void>;
  /** Starts the guest from such a file, paused: none of its instructions runs before {@link HostMigration.resume}. */
  restore(file: string, mapping: Mapping, options: Cancellable): Promise<void>;
  /** Changes whenever the file of a storage pool is written. */
  writtenMark(path: string, options: Cancellable): Promise<string>;
  /** Copies a file to another host and reads it back there; rejects with `hypervisor` unless both are the same. */
  copyTo(
    destination: HypervisorHost,
    copy: FileCopy,
    options: Cancellable & { readonly progress: (doneBytes: number, totalBytes: number) => void },
  ): Promise<CopiedFile>;
}

/** What moves disks between the storage pools of one host. */
export interface DiskMoves {
  /** Where an image of that name in a pool of this host is, how much room there is, and whether the name is taken. */
  pool(name: string, options: Cancellable): Promise<PoolRoom | undefined>;
  volumeTaken(pool: string, name: string, options: Cancellable): Promise<boolean>;
  /** Begins to mirror a running disk to a new image; resolves once that is under way. */
  beginCopy(vmId: string, copy: DiskCopy, options: Cancellable & { readonly bandwidthBytesPerSecond?: number | undefined }): Promise<void>;
  copyState(vmId: string, copy: DiskCopy, options: Cancellable): Promise<DiskCopyState>;
  /** The guest goes on with the new image, and the definition names it, too. */
  switchOver(vmId: string, copy: DiskCopy, options: Cancellable): Promise<void>;
  /** Ends a copy; the guest stays on its image. Nothing happens when none is under way. */
  abortCopy(vmId: string, copy: DiskCopy, options: Cancellable): Promise<void>;
  /** Makes a converted image of a disk that nobody uses; resolves when it is whole. */
  convert(copy: DiskCopy, options: Cancellable): Promise<void>;
  /** The definition of a VM that is off names other images from now on. */
  redefine(vmId: string, mapping: Mapping, options: Cancellable): Promise<void>;
}

/** Bytes. `path`: the folder of a pool that keeps files. */
export interface PoolRoom {
  readonly name: string;
  readonly active: boolean;
  readonly path?: string | undefined;
  readonly availableBytes: number;
}
