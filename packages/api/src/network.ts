import { z } from "zod";
import { Reason } from "./common.ts";

export const NetworkRole = z.enum(["none", "cluster", "cluster-and-client"]);
export const NetworkState = z.enum(["unavailable", "down", "partitioned", "up"]);
export const InterfaceState = z.enum(["unavailable", "failed", "unreachable", "up", "unknown"]);

export const NetworkInterface = z.object({
  networkId: z.string(),
  network: z.string(),
  hostId: z.string(),
  host: z.string(),
  /** The host's name for it: `enp3s0`, `br0`, `bond0.20`. */
  interface: z.string(),
  mac: z.string().optional(),
  /** With prefix length: `10.0.1.7/24`. */
  addresses: z.array(z.string()),
  mtu: z.int(),
  /** Absent when the driver does not say. */
  speedMbps: z.int().optional(),
  linkUp: z.boolean(),
  state: InterfaceState,
  reason: Reason,
});
export type NetworkInterface = z.infer<typeof NetworkInterface>;

export const Network = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  /** In CIDR form, IPv4 first. */
  subnets: z.array(z.string()),
  role: NetworkRole,
  metric: z.int(),
  autoMetric: z.boolean(),
  /** How the automatic metric came about. */
  metricReason: Reason,
  state: NetworkState,
  stateReason: Reason,
  interfaces: z.array(NetworkInterface),
});
export type Network = z.infer<typeof Network>;

export const NetworkEdit = z.object({
  name: z.string().min(1).max(80).optional(),
  description: z.string().max(500).optional(),
  role: NetworkRole.optional(),
  /** Sets the metric and ends the automatic one. */
  metric: z.int().min(1).max(0x0fff_ffff).optional(),
  /** `true` gives the metric back to Godwit. */
  autoMetric: z.boolean().optional(),
});
export type NetworkEdit = z.input<typeof NetworkEdit>;

/** Cluster-wide live migration. Networks by id or name in requests, by id in answers. */
export const LiveMigrationSettings = z.object({
  /** First is tried first; networks not listed follow by metric. Empty: all by metric. */
  order: z.array(z.string()),
  exclude: z.array(z.string()),
  /** At most this many live migrations that one host takes part in; overrides every host's own number. */
  maximumParallelMigrations: z.int().min(0).max(1000).optional(),
});
export type LiveMigrationSettings = z.infer<typeof LiveMigrationSettings>;
export const LiveMigrationEdit = LiveMigrationSettings.extend({
  /** `null` gives the decision back to the hosts. */
  maximumParallelMigrations: z.int().min(0).max(1000).nullable().optional(),
}).partial();
export type LiveMigrationEdit = z.input<typeof LiveMigrationEdit>;

/** Which networks carry what captures read and recoveries write. Networks by id or name in requests, by id in answers. */
export const BackupTrafficSettings = z.object({
  /** First is tried first; networks not listed follow by metric. Empty: all by metric. */
  order: z.array(z.string()),
  exclude: z.array(z.string()),
  /** Networks on which disks may go unencrypted: whoever is on one can read a disk while it is exported there. */
  unencrypted: z.array(z.string()),
  /** The TCP ports of hosts that exports may listen on; both included. */
  firstPort: z.int().min(1024).max(65_535),
  lastPort: z.int().min(1024).max(65_535),
  /** A directory of the server's machine with `ca-cert.pem`, `client-cert.pem` and `client-key.pem`. Absent: no TLS. */
  tlsDirectory: z.string().min(1).optional(),
  /** When no network can carry it: through the SSH session all the same, or not at all. */
  otherwise: z.enum(["ssh", "refuse"]),
});
export type BackupTrafficSettings = z.infer<typeof BackupTrafficSettings>;
export const BackupTrafficEdit = BackupTrafficSettings.extend({
  /** `null` gives TLS up. */
  tlsDirectory: z.string().min(1).nullable().optional(),
}).partial();
export type BackupTrafficEdit = z.input<typeof BackupTrafficEdit>;

/** The way by which a host's disks get to the server or back, and why. */
export const BackupRoute = z.object({
  /** `tls` and `tcp`: over a network, encrypted or not. `ssh`: through the SSH session. */
  kind: z.enum(["ssh", "tls", "tcp"]),
  networkId: z.string().optional(),
  network: z.string().optional(),
  /** The host's. */
  address: z.string().optional(),
  serverAddress: z.string().optional(),
  reason: Reason,
});
export type BackupRoute = z.infer<typeof BackupRoute>;

/** One subnet of a host that incoming migrations may use; lower priority numbers come first, ties are allowed. */
export const MigrationNetwork = z.object({
  hostId: z.string(),
  host: z.string(),
  /** CIDR, or a single address. */
  subnet: z.string(),
  priority: z.int().min(0).max(0xffff_ffff),
  /** Who made the entry: `admin`, or `apply` with the file's name. */
  managedBy: z.string(),
});
export type MigrationNetwork = z.infer<typeof MigrationNetwork>;
export const MigrationNetworkAdd = z.object({
  subnet: z.string().min(1),
  priority: z.int().min(0).max(0xffff_ffff).default(0),
});
export const MigrationNetworkEdit = z.object({
  /** Which: an exact subnet, or a pattern with `*`. */
  subnet: z.string().min(1),
  newSubnet: z.string().min(1).optional(),
  newPriority: z.int().min(0).max(0xffff_ffff).optional(),
});

export const HostMigrationSettings = z.object({
  hostId: z.string(),
  host: z.string(),
  useAnyNetwork: z.boolean(),
  maximumLiveMigrations: z.int().min(0).max(1000),
  maximumStorageMigrations: z.int().min(0).max(1000),
  networks: z.array(MigrationNetwork),
});
export type HostMigrationSettings = z.infer<typeof HostMigrationSettings>;
export const HostMigrationEdit = HostMigrationSettings.pick({
  useAnyNetwork: true,
  maximumLiveMigrations: true,
  maximumStorageMigrations: true,
}).partial();
