/** An address of an interface, with what decides whether it is good to connect to. */
export interface InterfaceAddress {
  readonly family: 4 | 6;
  /** Canonical text, without prefix length. */
  readonly address: string;
  readonly prefix: number;
  readonly scope: "global" | "link" | "other";
  /**
   * False while it must not be used: duplicate found or still being looked for, deprecated, or a temporary
   * (privacy) address that will change.
   */
  readonly stable: boolean;
  readonly duplicate: boolean;
}

export interface InterfaceFacts {
  readonly name: string;
  /** What the kernel calls its type: `bridge`, `bond`, `vlan`, `veth`…; absent for real hardware. */
  readonly kind?: string | undefined;
  readonly loopback: boolean;
  readonly mac?: string | undefined;
  /** The hardware's own, where a bond or the admin changed it. */
  readonly permanentMac?: string | undefined;
  /** Switched on by the admin. */
  readonly enabled: boolean;
  /** Cable in, other end there. */
  readonly carrier: boolean;
  /** No ARP or neighbour discovery, so nobody's MAC can be learned over it. */
  readonly pointToPoint: boolean;
  readonly mtu: number;
  readonly speedMbps?: number | undefined;
  readonly rdma: boolean;
  /** The bridge or bond that it is a port of. */
  readonly master?: string | undefined;
  /** The interface below a VLAN or macvlan; for a veth its other end. */
  readonly lower?: string | undefined;
  /** The other end is in another network namespace. */
  readonly lowerElsewhere: boolean;
  readonly addresses: readonly InterfaceAddress[];
}

/** What one host says of its network. */
export interface HostNetworkFacts {
  readonly interfaces: readonly InterfaceFacts[];
  /** Interfaces that a default route leaves by. */
  readonly gatewayInterfaces: readonly string[];
  /** Addresses of the iSCSI and NVMe/TCP targets that the host has sessions with. */
  readonly storageTargets: readonly string[];
  /** How this host can probe others. */
  readonly probes: { readonly ping: boolean; readonly tcp: boolean };
}

/** Bytes that the interfaces of one host have carried. */
export interface CounterReading {
  /** Milliseconds since the host's boot, so that two readings give a rate without trusting anybody's wall clock. */
  readonly at: number;
  readonly interfaces: readonly InterfaceCounters[];
}

export interface InterfaceCounters {
  readonly name: string;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}
