import { systemClock } from "@godwit/core";
import {
  type CaptureResult,
  gcJob,
  type GcInput,
  type GroupsTarget,
  isFinal,
  type Inventory,
  type JobKind,
  type JobRunner,
  pointNameOf,
  ProtectionGroups,
  retainJob,
  taggerOf,
  type Vaults,
} from "@godwit/engine";
import type { ProtectionNeeds } from "./protection.ts";

export interface GroupsPart {
  readonly groups: ProtectionGroups;
  readonly kinds: readonly JobKind[];
  /** What `apply` makes. */
  readonly applied: GroupsTarget;
  /** Starts captures that are due, once `ready`, until `signal` fires. */
  run(ready: Promise<unknown>, signal: AbortSignal): Promise<void>;
}

/** Protection groups: their schedules, and the retention of what they capture. */
export function groupsPart(needs: ProtectionNeeds, vaults: Vaults): GroupsPart {
  const { store, inventory, log, alerts, placements, jobs, atOnce } = needs;
  const groups = new ProtectionGroups({
    groups: store.groups,
    members: store.groupMembers,
    hosts: inventory,
    jobs: { submit: (kind, input, options) => jobs().submit(kind, input, options), get: (id) => jobs().get(id) },
    vaults,
    clock: systemClock,
    log,
    alerts,
    atOnce: atOnce.captures,
    tags: async () => taggerOf(await placements.settings()),
    retain: async (group, { vmId, vm, runs }) => {
      const { vaultId } = group;
      const points = pointNameOf(group, vm);
      const { name: vault } = await vaults.find(vaultId);
      const idempotencyKey = `retain:${vaultId}:${vmId}:${runs.at(-1)?.jobId ?? ""}`;
      await jobs().submit("vault.retain", { vmId, vm, vaultId, vault, ...(points !== vm && { points }) }, { idempotencyKey });
    },
  });
  const submitGc = async (input: GcInput): Promise<void> => {
    const idempotencyKey = `gc:${input.vaultId}:${new Date(systemClock.now()).toISOString().slice(0, 10)}`;
    await jobs().submit("vault.gc", input, { idempotencyKey });
  };
  const inUse = (): Map<string, string> =>
    new Map(
      jobs()
        .unfinished()
        .flatMap(({ id, title, input: { pointId } }) => (typeof pointId === "string" ? [[pointId, `job ${id} (${title})`]] : [])),
    );
  return {
    groups,
    kinds: [retainJob({ vaults, groups: store.groups, members: store.groupMembers, inUse, submitGc }), gcJob({ vaults })],
    applied: {
      list: () => groups.list(),
      vaults: () => vaults.list(),
      create: (draft) => groups.create(draft),
      replace: (draft) => groups.replace(draft),
      remove: (name) => groups.remove(name),
    },
    run: async (ready, signal) => {
      await ready;
      await Promise.all([groups.run({ signal }), nudgeByJobs(groups, jobs(), signal), nudgeByVms(groups, inventory, signal)]);
    },
  };
}

/** A capture that ended may have let another one start, or be due again. */
async function nudgeByJobs(groups: ProtectionGroups, jobs: JobRunner, signal: AbortSignal): Promise<void> {
  for await (const job of jobs.watchAll({ signal })) {
    const { kind, state, input, result } = job;
    if ((kind !== "vm.capture" && kind !== "vm.capture-files") || !isFinal(state)) continue;
    const byHand = kind === "vm.capture" && state === "done" && input["groupId"] === undefined;
    if (byHand && (result as Partial<CaptureResult> | undefined)?.outcome === "captured") groups.captured(job);
    else groups.nudge();
  }
}

/** A VM that is new, or moved, or whose host came back, may be due. */
async function nudgeByVms(groups: ProtectionGroups, inventory: Inventory, signal: AbortSignal): Promise<void> {
  const seen = (): string => JSON.stringify(inventory.vms().map(({ id, name, host, state }) => [id, name, host, state === "unknown"]));
  let before = seen();
  try {
    for await (const _ of inventory.changes({ signal })) {
      const now = seen();
      if (now !== before) groups.nudge();
      before = now;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
