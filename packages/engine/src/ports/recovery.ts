import type { BlockSink, BlockSource } from "@godwit/core";
import type { ExportRoute, MachineState } from "./backup.ts";
import type { DestinationFacts } from "./migration.ts";

interface Cancellable {
  readonly signal: AbortSignal;
}

/** What a definition says that a recovery has to know. */
export interface DefinedVm {
  readonly id: string;
  readonly name: string;
  readonly disks: readonly { readonly target: string; readonly path?: string | undefined }[];
}

/** How the recovered VM differs from what was captured. */
export interface Adaptation {
  readonly id: string;
  readonly name: string;
  /** Other network addresses and machine ids, so that both may run beside each other. */
  readonly newIdentity: boolean;
  readonly disks: readonly { readonly target: string; readonly path: string }[];
  /** What network cards plug into, old name to new one. */
  readonly networks: Readonly<Record<string, string>>;
}

/** An image on a host. */
export interface ImagePlace {
  readonly target: string;
  readonly path: string;
  readonly format: string;
}

/** How one kind of hypervisor takes VMs back. One for each host connection. */
export interface HostRecovery {
  /** Throws `invalid` for a definition of another kind of hypervisor. */
  defined(definition: string): DefinedVm;
  judge(
    definition: string,
    wanted: Pick<Adaptation, "id" | "name" | "networks"> & { readonly pool?: string | undefined },
    options: Cancellable,
  ): Promise<DestinationFacts>;
  /** The definition as it will be. Throws `invalid` when a disk cannot be moved in it. */
  adapt(definition: string, adaptation: Adaptation): string;
  /** Makes an empty image that can keep a list of changes; gives its path. One of that name that is there already is taken as it is. */
  createImage(
    image: { readonly pool: string; readonly name: string; readonly capacityBytes: number },
    options: Cancellable,
  ): Promise<string>;
  /**
   * Opens an image that no VM uses, for writing. `key` names what must be closed together. Closing the sink closes the
   * image. Rejects with `RouteLostError` when the route does not work, as writing may later. `direct`: past the host's page
   * cache where its file system can, which no guest needs for an image that it does not know yet.
   */
  openImage(
    key: string,
    image: ImagePlace,
    options: Cancellable & { readonly route?: ExportRoute; readonly direct?: boolean },
  ): Promise<BlockSink>;
  /** What an image that is open holds. */
  readImage(key: string, image: ImagePlace, options: Cancellable): Promise<BlockSource>;
  /** Resolves when nothing of ours has an image of that key open any more. Safe to repeat. */
  closeImages(key: string, options: Cancellable): Promise<void>;
  /** Begins a list of changes in images that are closed; gives what makes the hypervisor know the checkpoint. */
  track(checkpoint: string, images: readonly ImagePlace[], options: Cancellable): Promise<string>;
  define(definition: string, files: MachineState["files"], options: Cancellable): Promise<void>;
  /** Whether a VM that is off would go on with memory that was saved, and that belongs to its disks as they are. */
  savedMemory(vmId: string, options: Cancellable): Promise<boolean>;
  /** A VM that is off, and was rolled back, gets another VM-Generation-ID; one without stays without. */
  generationId(vmId: string, options: Cancellable): Promise<void>;
  /** Deletes images that no VM uses; gives those that are still there, with the reason. */
  deleteImages(paths: readonly string[], options: Cancellable): Promise<{ readonly path: string; readonly reason: string }[]>;
}
