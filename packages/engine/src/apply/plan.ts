import type { BackupTrafficEdit, LiveMigrationEdit, NetworkRecordEdit } from "../network/settings.ts";
import type { HostMigrationSettings } from "../model/network.ts";
import { type Change, Draft } from "./draft.ts";
import type { ParsedFile } from "./parse.ts";
import { planHosts } from "./plan-hosts.ts";
import { planBackupTraffic } from "./plan-backup-traffic.ts";
import { planLiveMigration } from "./plan-live-migration.ts";
import type { PlacementSettings } from "../placement/rules.ts";
import { type GroupWork, planGroups } from "./plan-groups.ts";
import { planPlacement } from "./plan-placement.ts";
import { planNetworkEdits } from "./plan-networks.ts";
import type { CheckedHosts, ClusterState } from "./state.ts";
import type { WantedHost } from "./target.ts";

/** What to do, in the order in which it is safe: hosts come first, and go last. */
export interface Work {
  readonly addHosts: readonly WantedHost[];
  /** Known machines that are reached in another way from now on. */
  readonly replaceHosts: readonly { readonly id: string; readonly host: WantedHost }[];
  readonly networks: readonly NetworkRecordEdit[];
  readonly live?: LiveMigrationEdit | undefined;
  readonly backupTraffic?: BackupTrafficEdit | undefined;
  /** Whole settings. */
  readonly placement?: PlacementSettings | undefined;
  readonly groups?: GroupWork | undefined;
  /** Whole settings, by host name. */
  readonly migration: readonly { readonly host: string; readonly settings: HostMigrationSettings }[];
  /** The same for backup traffic. */
  readonly backup: readonly { readonly host: string; readonly settings: HostMigrationSettings }[];
  /** Ids. */
  readonly removeHosts: readonly string[];
}

export interface ApplyPlan {
  readonly changes: readonly Change[];
  readonly work: Work;
}

/**
 * The difference between a file and what is, and the work that makes it. Pure. Throws one `invalid` error with
 * every reference that dangles and every value that does not fit, before anything is changed.
 */
export function planApply(parsed: ParsedFile, state: ClusterState, checked: CheckedHosts, managedBy: string): ApplyPlan {
  const { file } = parsed;
  const draft = new Draft();
  const hosts = planHosts(file, state, { checked, managedBy }, draft);
  const networks = planNetworkEdits(file.networks ?? [], { state, arriving: hosts.arrivingSubnets }, draft);
  const live = file.liveMigration && planLiveMigration(file.liveMigration, { state, networks }, draft);
  const backupTraffic = file.backupTraffic && planBackupTraffic(file.backupTraffic, { state, networks }, draft);
  const placement = file.placement && planPlacement(file.placement, { before: state.placement, hosts: hostsToBe(state, hosts) }, draft);
  const groups = file.protection && planGroups(file.protection, { groups: state.groups, vaults: state.vaults, prune: file.prune }, draft);
  if (draft.problems.length > 0) throw parsed.error(draft.problems);
  const { addHosts, replaceHosts, migration, backup, removeHosts } = hosts;
  return {
    changes: draft.changes,
    work: { addHosts, replaceHosts, networks: networks.edits, live, backupTraffic, placement, groups, migration, backup, removeHosts },
  };
}

/** A rule may name a host that the same file adds; its id is not known yet, and its name is. */
function hostsToBe(
  state: ClusterState,
  { addHosts, removeHosts }: Pick<Work, "addHosts" | "removeHosts">,
): { readonly id: string; readonly name: string }[] {
  const stay = state.hosts.filter(({ id }) => !removeHosts.includes(id));
  return [...stay, ...addHosts.map(({ name }) => ({ id: name, name }))];
}
