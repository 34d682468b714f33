import {
  type BackupTrafficSettings,
  defaultHostMigrationSettings,
  type HostMigrationSettings,
  type LiveMigrationSettings,
  type NetworkRecord,
} from "../model/network.ts";
import type { Networks } from "../network/service.ts";
import type { ProtectionGroup } from "../protection/groups/model.ts";
import type { PlacementSettings } from "../placement/rules.ts";
import type { ApplyTarget, CheckedHost, GroupsTarget, KnownHost, PlacementTarget } from "./target.ts";

/** What is, as far as a cluster file can change it. */
export interface ClusterState {
  readonly hosts: readonly (KnownHost & { readonly migration: HostMigrationSettings; readonly backup: HostMigrationSettings })[];
  /** Every network that there is or was. */
  readonly networks: readonly NetworkRecord[];
  /** The networks that there are, with their metrics of now. */
  readonly listed: readonly { readonly id: string; readonly metric: number; readonly subnets: readonly string[] }[];
  readonly live: LiveMigrationSettings;
  readonly backupTraffic: BackupTrafficSettings;
  readonly placement: PlacementSettings;
  readonly groups: readonly ProtectionGroup[];
  readonly vaults: readonly { readonly id: string; readonly name: string }[];
}

/** What the hosts of the file that Godwit does not have, or has otherwise, said of themselves; by their place in the file. */
export type CheckedHosts = ReadonlyMap<number, CheckedHost | Error>;

export const newHostMigration: HostMigrationSettings = defaultHostMigrationSettings;

export async function readClusterState(
  target: ApplyTarget,
  networks: Networks,
  { placement, groups }: { readonly placement: PlacementTarget; readonly groups: GroupsTarget },
): Promise<ClusterState> {
  const hosts = await target.hosts();
  return {
    hosts: await Promise.all(
      hosts.map(async (host) => ({
        ...host,
        migration: await networks.hostMigration(host.id),
        backup: await networks.backupNetworks.settings(host.id),
      })),
    ),
    networks: await networks.records(),
    listed: networks.list(),
    live: await networks.liveMigration(),
    backupTraffic: await networks.backupTraffic(),
    placement: await placement.settings(),
    groups: await groups.list(),
    vaults: await groups.vaults(),
  };
}
