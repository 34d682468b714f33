import type { NetworkView } from "../model/network.ts";
import type { Reason } from "../model/reason.ts";

/** A host as far as networks are concerned. */
export interface NetworkHost {
  readonly id: string;
  readonly name: string;
}

/**
 * What one probe from one host's address to another host's address found.
 *
 * - `reached`: the peer itself answered, and the way there leaves by an interface of this network
 * - `silent`: it did not, or not by this network, or somebody else answered
 * - `unknown`: nobody could look
 */
export interface NetworkLink {
  readonly fromHostId: string;
  readonly fromInterface: string;
  readonly fromAddress: string;
  readonly toHostId: string;
  readonly toInterface: string;
  readonly toAddress: string;
  readonly result: "reached" | "silent" | "unknown";
  /** How it was probed and what came back. */
  readonly reason: Reason;
}

/** A cluster network with what selection needs and an admin need not see. */
export interface ClusterNetwork extends NetworkView {
  /** True when a host's default route leaves by it. */
  readonly gateway: boolean;
  /** Directed; every probed pair of addresses, IPv4 before IPv6. */
  readonly links: readonly NetworkLink[];
}

/** An interface with an address that is not part of any cluster network, and why. */
export interface IgnoredInterface {
  readonly hostId: string;
  readonly host: string;
  readonly interface: string;
  readonly addresses: readonly string[];
  readonly reason: Reason;
}
