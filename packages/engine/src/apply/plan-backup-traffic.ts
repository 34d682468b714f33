import type { BackupTrafficEdit } from "../network/settings.ts";
import type { Draft } from "./draft.ts";
import { namesOf, resolveNetworks } from "./plan-live-migration.ts";
import type { NetworksPlan } from "./plan-networks.ts";
import type { ClusterFile } from "./schema.ts";
import type { ClusterState } from "./state.ts";

interface Context {
  readonly state: Pick<ClusterState, "backupTraffic">;
  readonly networks: NetworksPlan;
}

/** Undefined when nothing differs. */
export function planBackupTraffic(
  wanted: NonNullable<ClusterFile["backupTraffic"]>,
  { state: { backupTraffic: now }, networks }: Context,
  draft: Draft,
): BackupTrafficEdit | undefined {
  const edit: { -readonly [Key in keyof BackupTrafficEdit]: BackupTrafficEdit[Key] } = {};
  const change = (key: keyof BackupTrafficEdit, before: unknown, after: unknown): void =>
    draft.change("change", ["backupTraffic", key], "backup traffic", { before, after });
  for (const key of ["order", "exclude", "unencrypted"] as const) {
    const refs = wanted[key];
    const ids = refs && resolveNetworks(["backupTraffic", key], refs, networks, draft);
    if (!ids || ids.join() === now[key].join()) continue;
    edit[key] = ids;
    change(key, namesOf(now[key], networks), namesOf(ids, networks));
  }
  for (const key of ["firstPort", "lastPort", "otherwise"] as const) {
    const value = wanted[key];
    if (value === undefined || value === now[key]) continue;
    Object.assign(edit, { [key]: value });
    change(key, now[key], value);
  }
  const tls = now.tlsDirectory ?? "none";
  if (wanted.tlsDirectory !== undefined && wanted.tlsDirectory !== tls) {
    edit.tlsDirectory = wanted.tlsDirectory === "none" ? null : wanted.tlsDirectory;
    change("tlsDirectory", tls, wanted.tlsDirectory);
  }
  const [first, last] = [edit.firstPort ?? now.firstPort, edit.lastPort ?? now.lastPort];
  if (last < first) draft.problem(["backupTraffic", "lastPort"], `${last} is below the first port, ${first}`);
  return Object.keys(edit).length > 0 ? edit : undefined;
}
