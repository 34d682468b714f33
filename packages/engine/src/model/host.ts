import type { Reason } from "./reason.ts";

/** How to reach a host's shell. */
export interface SshTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly keyFile?: string | undefined;
  readonly knownHostsFile?: string | undefined;
}

/** What the admin registered; all that Godwit keeps of a host. */
export interface HostRecord {
  /** The hypervisor's own host UUID, so that the same machine cannot be added twice. */
  readonly id: string;
  readonly name: string;
  readonly uri: string;
  readonly ssh?: SshTarget | undefined;
  /** RFC 3339. */
  readonly addedAt: string;
}

export interface Acceleration {
  readonly kind: "kvm" | "tcg" | "unknown";
  readonly evidence: "probed" | "claimed" | "none";
  readonly text: string;
}

/** Sizes in bytes. */
export interface HostFacts {
  readonly hostname: string;
  readonly uuid: string;
  readonly cpu: {
    readonly arch: string;
    readonly vendor?: string | undefined;
    readonly model?: string | undefined;
    readonly features: string[];
    readonly count: number;
    readonly sockets: number;
    readonly cores: number;
    readonly threads: number;
    readonly mhz?: number | undefined;
    /** Share of the CPUs' time that was used since they were looked at before, 0 to 1; absent the first time. */
    readonly busy?: number | undefined;
  };
  readonly memoryBytes: number;
  readonly freeMemoryBytes?: number | undefined;
  readonly versions: {
    readonly libvirt: string;
    readonly hypervisor?: string | undefined;
    readonly kernel?: string | undefined;
    readonly os?: string | undefined;
  };
  readonly capabilities: {
    readonly machines: string[];
    readonly domainTypes: string[];
    readonly migrationTransports: string[];
    readonly live: boolean;
  };
  readonly acceleration: Acceleration;
}

export type HostState = "connecting" | "up" | "lost";

/** A host as it is known now. */
export interface HostView {
  readonly id: string;
  readonly name: string;
  readonly uri: string;
  readonly state: HostState;
  readonly stateSince: string;
  readonly reason: Reason;
  readonly facts?: HostFacts | undefined;
  readonly factsAt?: string | undefined;
  readonly vms: { readonly total: number; readonly running: number };
}

/** Sizes in bytes. */
export interface PoolFacts {
  readonly name: string;
  readonly uuid: string;
  readonly type: string;
  readonly path?: string | undefined;
  readonly active: boolean;
  readonly capacityBytes: number;
  readonly allocatedBytes: number;
  readonly availableBytes: number;
}

export interface PoolView extends PoolFacts {
  readonly hostId: string;
  readonly host: string;
}
