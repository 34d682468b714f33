import type { Reason } from "./reason.ts";

export type NetworkRole = "none" | "cluster" | "cluster-and-client";
export type NetworkState = "unavailable" | "down" | "partitioned" | "up";
export type InterfaceState = "unavailable" | "failed" | "unreachable" | "up" | "unknown";

export interface NetworkInterface {
  readonly networkId: string;
  readonly network: string;
  readonly hostId: string;
  readonly host: string;
  readonly interface: string;
  readonly mac?: string | undefined;
  readonly addresses: string[];
  readonly mtu: number;
  readonly speedMbps?: number | undefined;
  readonly linkUp: boolean;
  readonly state: InterfaceState;
  readonly reason: Reason;
}

export interface NetworkView {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly subnets: string[];
  readonly role: NetworkRole;
  readonly metric: number;
  readonly autoMetric: boolean;
  readonly metricReason: Reason;
  readonly state: NetworkState;
  readonly stateReason: Reason;
  readonly interfaces: NetworkInterface[];
}

/** What the admin decided about a network, kept in the store; everything else is read from the hosts. */
export interface NetworkRecord {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly role: NetworkRole;
  /** Absent: automatic. */
  readonly metric?: number | undefined;
  /** Subnets that it was last seen with: the key that finds it again. */
  readonly subnets: readonly string[];
}

export interface LiveMigrationSettings {
  readonly order: readonly string[];
  readonly exclude: readonly string[];
  readonly maximumParallelMigrations?: number | undefined;
}

export interface HostMigrationNetwork {
  readonly subnet: string;
  readonly priority: number;
  readonly managedBy: string;
}

export interface HostMigrationSettings {
  readonly useAnyNetwork: boolean;
  readonly maximumLiveMigrations: number;
  readonly maximumStorageMigrations: number;
  readonly networks: readonly HostMigrationNetwork[];
}

/** As on Windows, except that any network may be used until the admin lists some: no list is not a refusal. */
export const defaultHostMigrationSettings: HostMigrationSettings = {
  useAnyNetwork: true,
  maximumLiveMigrations: 2,
  maximumStorageMigrations: 2,
  networks: [],
};

/** Which networks carry what captures read and recoveries write, for the whole cluster. Networks by id. */
export interface BackupTrafficSettings {
  readonly order: readonly string[];
  readonly exclude: readonly string[];
  /** Networks on which disks may go unencrypted: whoever is on one can read a disk while it is exported there. */
  readonly unencrypted: readonly string[];
  /** The TCP ports of hosts that exports may listen on; both included. */
  readonly firstPort: number;
  readonly lastPort: number;
  /** A directory of the server's machine: `ca-cert.pem`, `client-cert.pem` and `client-key.pem`. Absent: no TLS. */
  readonly tlsDirectory?: string | undefined;
  /** When no network can carry it: through the SSH session all the same, or not at all. */
  readonly otherwise: "ssh" | "refuse";
}

/** From NBD's own port on. Nothing is unencrypted, and without credentials all goes through SSH. */
export const defaultBackupTraffic: BackupTrafficSettings = {
  order: [],
  exclude: [],
  unencrypted: [],
  firstPort: 10_809,
  lastPort: 10_872,
  otherwise: "ssh",
};

/** What the rules say of one network for one migration. */
export interface NetworkVerdict {
  readonly networkId: string;
  readonly network: string;
  readonly rank?: number | undefined;
  readonly verdict: "chosen" | "fallback" | "out";
  readonly reason: Reason;
  readonly sourceInterface?: string | undefined;
  readonly sourceAddress?: string | undefined;
  readonly destinationInterface?: string | undefined;
  readonly destinationAddress?: string | undefined;
}
