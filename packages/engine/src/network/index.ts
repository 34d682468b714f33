export type { HostReport } from "./candidates.ts";
export type { CounterReading, HostNetworkFacts, InterfaceAddress, InterfaceCounters, InterfaceFacts } from "./facts.ts";
export { readCounters, readHostNetwork } from "./gather.ts";
export { parseCounters } from "./parse-counters.ts";
export { parseHostNetwork } from "./parse-facts.ts";
export { automaticMetric, type Metric } from "./metric.ts";
export type { HostMigrationNetworkView, MigrationNetworkFilter, MigrationSettings } from "./migration-settings.ts";
export { canonicalSubnet, type MigrationSubnetEdit } from "./migration-subnets.ts";
export type { ClusterNetwork, IgnoredInterface, NetworkHost, NetworkLink } from "./model.ts";
export { type HostInventory, inventoryHosts } from "./inventory-hosts.ts";
export type { HostSource, SourceHost } from "./observe.ts";
export { type NetworkSelection, selectMigrationNetworks } from "./select.ts";
export { type NetworkChange, Networks, type NetworksOptions } from "./service.ts";
export {
  type BackupTrafficEdit,
  type HostMigrationEdit,
  liveMigrationLimit,
  type LiveMigrationEdit,
  type NetworkEdit,
} from "./settings.ts";
