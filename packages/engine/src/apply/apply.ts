import { CancelledError, toError } from "@godwit/core";
import type { Networks } from "../network/service.ts";
import { parseClusterFile, type ParsedFile } from "./parse.ts";
import type { Change } from "./draft.ts";
import { planApply, type Work } from "./plan.ts";
import { hostsToCheck } from "./plan-hosts.ts";
import { type CheckedHosts, type ClusterState, readClusterState } from "./state.ts";
import type { ApplyTarget, CheckedHost, GroupsTarget, PlacementTarget } from "./target.ts";

export interface ApplyOptions {
  /** The YAML text. */
  readonly document: string;
  /** For messages, and to mark what the file made. */
  readonly fileName: string;
  /** Only say what would change; the file and its new hosts are checked all the same. */
  readonly dryRun: boolean;
  readonly target: ApplyTarget;
  readonly networks: Networks;
  readonly placement: PlacementTarget;
  readonly groups: GroupsTarget;
  readonly signal: AbortSignal;
}

/**
 * Makes the cluster as a file says, and tells the differences. The file, what it refers to and whether its new
 * hosts can be reached are checked before anything is changed; every problem is in the one `invalid` error.
 * Each step may be repeated: after a crash or a failure in the middle, applying again does what is left.
 */
export async function applyClusterFile(options: ApplyOptions): Promise<{ readonly dryRun: boolean; readonly changes: readonly Change[] }> {
  const { document, fileName, dryRun, target, networks, signal } = options;
  const parsed = parseClusterFile(document, fileName);
  const state = await readClusterState(target, networks, options);
  const checked = await checkHosts(parsed, state, options);
  const plan = planApply(parsed, state, checked, `apply ${fileName}`);
  signal.throwIfAborted();
  if (!dryRun) await execute(plan.work, options);
  return { dryRun, changes: plan.changes };
}

async function checkHosts({ file }: ParsedFile, state: ClusterState, { target, signal }: ApplyOptions): Promise<CheckedHosts> {
  const answers = await Promise.all(
    hostsToCheck(file, state).map(async ({ index, host }): Promise<readonly [number, CheckedHost | Error]> => {
      try {
        return [index, await target.checkHost(host, { signal })];
      } catch (error) {
        signal.throwIfAborted();
        return [index, error instanceof CancelledError ? new Error("the host did not answer in time", { cause: error }) : toError(error)];
      }
    }),
  );
  return new Map(answers);
}

/** Hosts come before what refers to them, and go after it. */
async function execute(work: Work, { target, networks, placement, groups, signal }: ApplyOptions): Promise<void> {
  for (const host of work.addHosts) await target.addHost(host, { signal });
  for (const { id, host } of work.replaceHosts) {
    await target.removeHost(id, { signal });
    await target.addHost(host, { signal });
  }
  if (work.networks.length > 0) await networks.editAll(work.networks);
  if (work.live) await networks.setLiveMigration(work.live);
  if (work.backupTraffic) await networks.setBackupTraffic(work.backupTraffic);
  if (work.placement) await placement.replaceSettings(work.placement);
  for (const draft of work.groups?.create ?? []) await groups.create(draft);
  for (const draft of work.groups?.replace ?? []) await groups.replace(draft);
  for (const name of work.groups?.remove ?? []) await groups.remove(name);
  for (const { host, settings } of work.migration) await networks.migrationNetworks.replace(host, settings);
  for (const { host, settings } of work.backup) await networks.backupNetworks.replace(host, settings);
  for (const id of work.removeHosts) {
    await target.removeHost(id, { signal });
    await networks.migrationNetworks.forget(id);
    await networks.backupNetworks.forget(id);
  }
  networks.nudge();
}
