import type { HostState } from "../model/host.ts";
import type { Reason } from "../model/reason.ts";
import type { VmState } from "../model/vm.ts";
import type { VmPolicy } from "./policy.ts";

/** A host as placement sees it. Sizes in bytes. */
export interface SiteHost {
  readonly id: string;
  readonly name: string;
  /** Room, building or fault domain. */
  readonly site?: string | undefined;
  readonly state: HostState;
  /** Why no VM may land on it now: it is being drained, say. */
  readonly closed?: Reason | undefined;
  /** What all guests together may have: its memory less what the host itself needs. */
  readonly memoryBytes: number;
  /** Measured; absent when the host does not say. Bounds what can be added, whatever the guests were promised. */
  readonly freeMemoryBytes?: number | undefined;
  readonly cpus: number;
  /** Share of their time that was used of late, 0 to 1; absent when the host did not say. */
  readonly cpuBusy?: number | undefined;
  readonly arch: string;
  readonly vendor?: string | undefined;
  /** Absent when the host did not say. */
  readonly features?: ReadonlySet<string> | undefined;
  /** Active pools by name: bytes that are free. */
  readonly pools: ReadonlyMap<string, number>;
  /** Bridges and libvirt networks for guests; absent when they cannot be seen. */
  readonly guestNetworks?: ReadonlySet<string> | undefined;
}

/** A VM as placement sees it. Sizes in bytes. */
export interface SiteVm {
  readonly id: string;
  readonly name: string;
  /** Where it runs, or is defined. */
  readonly hostId: string;
  readonly state: VmState;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly arch?: string | undefined;
  readonly vendor?: string | undefined;
  /** CPU features that the running guest was given; absent when they are not known. */
  readonly features?: readonly string[] | undefined;
  readonly guestNetworks: readonly string[];
  /** Absent when it is not known. */
  readonly generationId?: boolean | undefined;
  /** Its disks are here and on no other host: they must be copied, into a pool of the same name. */
  readonly localDisks?: { readonly pool: string; readonly bytes: number } | undefined;
  readonly policy: VmPolicy;
}

/** Whether one host's guests can be sent to another, and over which network first. */
export type Path =
  | { readonly networkId: string; readonly network: string; readonly bytesPerSecond?: number | undefined }
  | { readonly none: Reason };

/** All of a cluster that decides where VMs go. */
export interface Site {
  readonly hosts: readonly SiteHost[];
  readonly vms: readonly SiteVm[];
  /** By host ids. */
  readonly path: (sourceId: string, destinationId: string) => Path;
  /** What was found out about one VM on one host, such as a refusal of the hypervisor. */
  readonly ruledOut?: ((vmId: string, hostId: string) => PlacementReason | undefined) | undefined;
}

/** Why a host does not take a VM, and what would have to change. */
export interface PlacementReason extends Reason {
  readonly change: string;
}

/** States in which a VM has memory on its host. */
export function holdsMemory({ state }: Pick<SiteVm, "state">): boolean {
  return state !== "off" && state !== "crashed";
}
