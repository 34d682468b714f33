import type { PausePolicy } from "../migration/contract.ts";

/** As failover clusters have it: order of starting and of being moved, never a reservation. */
export type VmPriority = "high" | "medium" | "low" | "no-auto-start";

/** How a VM may be taken from one host to another. */
export type MoveKind = "live" | "shared-nothing" | "quick" | "cold";

/** Which VMs are meant. Names and tags add up (any of them); `where` narrows what they, or all VMs, gave. */
export interface VmSelector {
  /** Ids, or names with `*` and `?`. */
  readonly names?: readonly string[] | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly where?: VmCondition | undefined;
}

/** All of them must hold. */
export interface VmCondition {
  readonly minimumMemoryBytes?: number | undefined;
  readonly maximumMemoryBytes?: number | undefined;
  readonly minimumVcpus?: number | undefined;
  /** It has a network card on one of these bridges or libvirt networks. */
  readonly guestNetworks?: readonly string[] | undefined;
}

/**
 * What an admin wants of where VMs run. One rule may say several things; what several rules say adds up.
 * Hosts are ids or names.
 */
export interface PlacementRule {
  /** Unique; every decision that the rule takes part in names it. */
  readonly name: string;
  readonly vms: VmSelector;
  /** Hard: nowhere else. */
  readonly possibleHosts?: readonly string[] | undefined;
  /** Soft: the first that can is taken, then any other. */
  readonly preferredHosts?: readonly string[] | undefined;
  /** Anti-affinity: no two of them on one host. */
  readonly keepApart?: "prefer" | "enforce" | undefined;
  /** Soft: where the others are. */
  readonly keepTogether?: "host" | "site" | undefined;
  /** Soft: as evenly as can be. */
  readonly spreadOver?: "hosts" | "sites" | undefined;
  readonly priority?: VmPriority | undefined;
  /** Groups start, and come back, in this order. */
  readonly startGroup?: number | undefined;
  /** The pause that a live migration of these VMs may take, milliseconds; the tightest of all that is said counts. */
  readonly maximumPauseMs?: number | undefined;
  /** What happens to one of them that changes memory too fast for that pause. */
  readonly pausePolicy?: PausePolicy | undefined;
  /** A workload profile, built in or the site's own. */
  readonly profile?: string | undefined;
}

/** What a workload needs of every path that touches its VM. */
export interface WorkloadProfile {
  /** Unique, as rules and tags name it. */
  readonly name: string;
  readonly title: string;
  /** A VM with one of these tags has the profile without a rule. */
  readonly tags: readonly string[];
  readonly allowedKinds: readonly MoveKind[];
  /** Its memory is never written to disk: no quick migration, no saved state, no snapshot with memory. */
  readonly savedState: "allowed" | "never";
  /** The pause that the workload bears, milliseconds; a move that would take longer is given up. */
  readonly maximumPauseMs?: number | undefined;
  /** The device by which a guest notices that it was rolled back or copied. */
  readonly vmGenerationId: "needed" | "not-needed";
  /** Memory may not be taken from it while it runs. */
  readonly dynamicMemory: "allowed" | "never";
  /** vCPUs of such VMs for each CPU of a host, at most. */
  readonly maximumVcpusPerCpu?: number | undefined;
  /** What else its owner must know; shown with plans. */
  readonly advice: readonly string[];
  /** Where these rules come from. */
  readonly source: string;
}

/** All that an admin decided about placement. */
export interface PlacementSettings {
  /** By host name or id: the site (room, building, fault domain) that it stands in. */
  readonly sites: Readonly<Record<string, string>>;
  /** By VM id or name pattern. */
  readonly tags: readonly { readonly vms: readonly string[]; readonly tags: readonly string[] }[];
  readonly rules: readonly PlacementRule[];
  /** The site's own; one of the same name replaces a built-in one. */
  readonly profiles: readonly WorkloadProfile[];
  /** Balancing by itself; absent: only when somebody asks. */
  readonly balance?: BalanceSchedule | undefined;
}

export interface BalanceSchedule {
  readonly everyMinutes: number;
  /** Percent of a host's memory above which it is relieved. */
  readonly abovePercent: number;
}

export const noPlacementSettings: PlacementSettings = { sites: {}, tags: [], rules: [], profiles: [] };
