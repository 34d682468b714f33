import { systemClock } from "@godwit/core";
import {
  type Alerts,
  captureJob,
  Captures,
  findPoint,
  type Inventory,
  type JobRunner,
  libvirtBackup,
  libvirtRecovery,
  listFoundPoints,
  type Networks,
  networkTraffic,
  type Placements,
  Recoveries,
  recoverJob,
  type Store,
  Vaults,
} from "@godwit/engine";
import type { Logger } from "pino";
import type { ProtectionService } from "../services.ts";
import { type GroupsPart, groupsPart } from "./groups.ts";

export interface ProtectionPart extends GroupsPart {
  readonly service: ProtectionService;
  readonly vaults: Vaults;
}

/** Jobs that a capture makes way for. */
const moves = new Set(["vm.migrate", "vm.move-storage"]);

export interface ProtectionNeeds {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly networks: Networks;
  readonly log: Logger;
  readonly alerts: Alerts;
  readonly placements: Pick<Placements, "settings">;
  /** Asked for only once captures run. */
  readonly jobs: () => JobRunner;
}

/** Vaults, captures, points and groups. */
export function protectionPart(needs: ProtectionNeeds): ProtectionPart {
  const { store, inventory, networks, jobs } = needs;
  const vaults = new Vaults(store.vaults, systemClock);
  const traffic = networkTraffic({ hosts: inventory, networks, clock: systemClock });
  const captures = new Captures({
    hosts: inventory,
    vaults,
    tracking: store.tracking,
    open: libvirtBackup,
    traffic,
    moveWaiting: (vmId) => {
      const waiting = jobs()
        .unfinished()
        .find(({ kind, state, subject }) => moves.has(kind) && state === "queued" && subject.id === vmId);
      return waiting && { id: waiting.id, title: waiting.title };
    },
    submit: async (input, idempotencyKey) => (await jobs().submit("vm.capture", input, { idempotencyKey })).id,
  });
  const recoveries = new Recoveries({ captures, open: libvirtRecovery });
  const groups = groupsPart(needs, vaults);
  return {
    ...groups,
    vaults,
    kinds: [captureJob(captures), recoverJob(recoveries), ...groups.kinds],
    service: {
      vaults: () => vaults.list(),
      addVault: (vault, cancellable) => vaults.add(vault, cancellable),
      removeVault: (ref) => vaults.remove(ref),
      captureInput: (wish) => captures.resolve(wish),
      recoverInput: (wish, cancellable) => recoveries.resolve(wish, cancellable),
      async routes(ref, options) {
        const { id } = inventory.host(ref);
        const routes = await traffic.routes(id, (asked) => captures.backup(id).tls(asked), options);
        return routes.map(({ view }) => view);
      },
      points: (filter, cancellable) => listFoundPoints(vaults, filter, cancellable),
      point: (ref, vault, cancellable) => findPoint(vaults, ref, vault, cancellable),
    },
  };
}
