import { systemClock } from "@godwit/core";
import {
  type Alerts,
  captureJob,
  Captures,
  findPoint,
  gcJob,
  type GroupsTarget,
  type GcInput,
  isFinal,
  type Inventory,
  type JobKind,
  type JobRunner,
  libvirtBackup,
  libvirtRecovery,
  listFoundPoints,
  type Placements,
  ProtectionGroups,
  Recoveries,
  recoverJob,
  retainJob,
  type Store,
  taggerOf,
  Vaults,
} from "@godwit/engine";
import type { Logger } from "pino";
import type { ProtectionService } from "../services.ts";

export interface ProtectionPart {
  readonly kinds: readonly JobKind[];
  readonly service: ProtectionService;
  readonly vaults: Vaults;
  readonly groups: ProtectionGroups;
  /** What `apply` makes. */
  readonly applied: GroupsTarget;
  /** Starts captures that are due, once `ready`, until `signal` fires. */
  run(ready: Promise<unknown>, signal: AbortSignal): Promise<void>;
}

/** Jobs that a capture makes way for. */
const moves = new Set(["vm.migrate", "vm.move-storage"]);

interface Given {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly log: Logger;
  readonly alerts: Alerts;
  readonly placements: Pick<Placements, "settings">;
  /** Asked for only once captures run. */
  readonly jobs: () => JobRunner;
}

/** Vaults, captures, points and groups. */
export function protectionPart({ store, inventory, log, alerts, placements, jobs }: Given): ProtectionPart {
  const vaults = new Vaults(store.vaults, systemClock);
  const captures = new Captures({
    hosts: inventory,
    vaults,
    tracking: store.tracking,
    open: libvirtBackup,
    moveWaiting: (vmId) => {
      const waiting = jobs()
        .unfinished()
        .find(({ kind, state, subject }) => moves.has(kind) && state === "queued" && subject.id === vmId);
      return waiting && { id: waiting.id, title: waiting.title };
    },
    submit: async (input, idempotencyKey) => (await jobs().submit("vm.capture", input, { idempotencyKey })).id,
  });
  const groups = new ProtectionGroups({
    groups: store.groups,
    members: store.groupMembers,
    hosts: inventory,
    jobs: { submit: (kind, input, options) => jobs().submit(kind, input, options), get: (id) => jobs().get(id) },
    vaults,
    clock: systemClock,
    log,
    alerts,
    tags: async () => taggerOf(await placements.settings()),
    retain: async ({ vaultId }, { vmId, vm, runs }) => {
      const { name: vault } = await vaults.find(vaultId);
      const idempotencyKey = `retain:${vaultId}:${vmId}:${runs.at(-1)?.jobId ?? ""}`;
      await jobs().submit("vault.retain", { vmId, vm, vaultId, vault }, { idempotencyKey });
    },
  });
  const retention = {
    vaults,
    groups: store.groups,
    members: store.groupMembers,
    submitGc: async (input: GcInput) => {
      const idempotencyKey = `gc:${input.vaultId}:${new Date(systemClock.now()).toISOString().slice(0, 10)}`;
      await jobs().submit("vault.gc", input, { idempotencyKey });
    },
  };
  const recoveries = new Recoveries({ captures, open: libvirtRecovery });
  return {
    vaults,
    groups,
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
    kinds: [captureJob(captures), recoverJob(recoveries), retainJob(retention), gcJob(retention)],
    service: {
      vaults: () => vaults.list(),
      addVault: (vault, cancellable) => vaults.add(vault, cancellable),
      removeVault: (ref) => vaults.remove(ref),
      captureInput: (wish) => captures.resolve(wish),
      recoverInput: (wish, cancellable) => recoveries.resolve(wish, cancellable),
      points: (filter, cancellable) => listFoundPoints(vaults, filter, cancellable),
      point: (ref, vault, cancellable) => findPoint(vaults, ref, vault, cancellable),
    },
  };
}

/** A capture that ended may have let another one start, or be due again. */
async function nudgeByJobs(groups: ProtectionGroups, jobs: JobRunner, signal: AbortSignal): Promise<void> {
  for await (const { kind, state } of jobs.watchAll({ signal })) if (kind === "vm.capture" && isFinal(state)) groups.nudge();
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
