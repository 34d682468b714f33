export type VmState = "running" | "paused" | "shutting-down" | "off" | "crashed" | "suspended" | "blocked" | "unknown";

/** Sizes in bytes. */
export interface VmDisk {
  readonly target: string;
  readonly device: "disk" | "cdrom" | "floppy" | "lun";
  readonly bus?: string | undefined;
  readonly source: { readonly type: string; readonly path?: string | undefined; readonly pool?: string | undefined };
  readonly format?: string | undefined;
  readonly readOnly: boolean;
  readonly shareable: boolean;
  readonly capacityBytes?: number | undefined;
  readonly allocatedBytes?: number | undefined;
  readonly backingChain: string[];
}

export interface VmNic {
  readonly mac: string;
  readonly model?: string | undefined;
  readonly type: string;
  readonly source?: string | undefined;
}

/** What one host says of one VM. */
export interface VmFacts {
  readonly id: string;
  readonly name: string;
  readonly title?: string | undefined;
  readonly state: Exclude<VmState, "unknown">;
  readonly persistent: boolean;
  readonly autostart: boolean;
  readonly vcpus: number;
  readonly memoryBytes: number;
  readonly cpu: { readonly mode: string; readonly model?: string | undefined };
  readonly domainType: string;
  readonly machine?: string | undefined;
  readonly agent: "connected" | "disconnected" | "none";
  /** It has a VM-Generation-ID, by which the guest notices that it was rolled back or copied. */
  readonly generationId?: boolean | undefined;
  readonly disks: VmDisk[];
  readonly nics: VmNic[];
}

/** A VM as it is known now, on the host that runs it (or, when off, defines it). */
export interface VmView extends Omit<VmFacts, "state"> {
  readonly state: VmState;
  /** Differs from `state` only while that is `unknown`. */
  readonly lastKnownState: Exclude<VmState, "unknown">;
  readonly hostId: string;
  readonly host: string;
  readonly seenAt: string;
}
