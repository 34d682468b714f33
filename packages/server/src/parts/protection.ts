import { systemClock } from "@godwit/core";
import {
  captureJob,
  Captures,
  findPoint,
  type Inventory,
  type JobKind,
  type JobRunner,
  libvirtBackup,
  libvirtRecovery,
  listFoundPoints,
  Recoveries,
  recoverJob,
  type Store,
  Vaults,
} from "@godwit/engine";
import type { ProtectionService } from "../services.ts";

export interface ProtectionPart {
  readonly kinds: readonly JobKind[];
  readonly service: ProtectionService;
  readonly vaults: Vaults;
}

/** Jobs that a capture makes way for. */
const moves = new Set(["vm.migrate", "vm.move-storage"]);

/** Vaults, captures and points. `jobs` is asked for only once captures run. */
export function protectionPart(store: Store, inventory: Inventory, jobs: () => JobRunner): ProtectionPart {
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
  const recoveries = new Recoveries({ captures, open: libvirtRecovery });
  return {
    vaults,
    kinds: [captureJob(captures), recoverJob(recoveries)],
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
