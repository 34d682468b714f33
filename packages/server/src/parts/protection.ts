import { systemClock } from "@godwit/core";
import {
  type Alerts,
  captureJob,
  confirmRecoveryJob,
  type Bounded,
  Captures,
  EngineError,
  filesCaptureJob,
  filesRecoverJob,
  findPoint,
  GuestFiles,
  type Inventory,
  isFinal,
  type JobRunner,
  KeptAside,
  libvirtBackup,
  libvirtGuestFiles,
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

/** Jobs that a capture makes way for: who stops a VM need not wait for hours of reading. */
const moves = new Set(["vm.migrate", "vm.move-storage"]);
const powers = new Set(["vm.start", "vm.stop"]);

export interface ProtectionNeeds {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly networks: Networks;
  readonly log: Logger;
  readonly alerts: Alerts;
  /** A folder that only the server can read. */
  readonly spoolDir: string;
  readonly placements: Pick<Placements, "settings">;
  readonly atOnce: Readonly<Record<Bounded, number>>;
  /** Asked for only once captures run. */
  readonly jobs: () => JobRunner;
}

/** Vaults, captures, points and groups. */
export function protectionPart(needs: ProtectionNeeds): ProtectionPart {
  const { store, inventory, networks, jobs } = needs;
  const vaults = new Vaults(store.vaults, systemClock);
  const traffic = networkTraffic({ hosts: inventory, networks, clock: systemClock });
  const groups = groupsPart(needs, vaults);
  const captures = new Captures({
    hosts: inventory,
    vaults,
    tracking: store.tracking,
    open: libvirtBackup,
    atOnce: needs.atOnce.captures,
    traffic,
    moveWaiting: (vmId) => {
      const waiting = jobs()
        .unfinished()
        .find(({ kind, state, subject }) => (moves.has(kind) || powers.has(kind)) && state === "queued" && subject.id === vmId);
      if (!waiting) return undefined;
      const { id, title, kind, input } = waiting;
      return { id, title, waits: input["waitForCapture"] === true, power: powers.has(kind) };
    },
    perHost: () => groups.groups.perHost(),
    bandwidth: (groupId) => groups.groups.bandwidth(groupId),
    submit: async (input, idempotencyKey) => (await jobs().submit("vm.capture", input, { idempotencyKey })).id,
  });
  const recoveries = new Recoveries({ captures, open: libvirtRecovery, kept: store.keptImages, atOnce: needs.atOnce.recoveries });
  const files = new GuestFiles({ captures, open: libvirtGuestFiles, spoolDir: needs.spoolDir, recoveriesAtOnce: needs.atOnce.recoveries });
  const aside = new KeptAside({
    kept: store.keptImages,
    recoveries,
    vms: () => inventory.vms(),
    submit: (input, idempotencyKey) => jobs().submit("vm.confirm-recovery", input, { idempotencyKey }),
    clock: systemClock,
    log: needs.log,
  });
  return {
    ...groups,
    vaults,
    kinds: [
      captureJob(captures),
      recoverJob(recoveries),
      confirmRecoveryJob(aside),
      filesCaptureJob(files),
      filesRecoverJob(files),
      ...groups.kinds,
    ],
    run: async (ready, signal) => {
      await Promise.all([groups.run(ready, signal), ready.then(() => aside.run({ signal })), followMoves(captures, needs, signal)]);
    },
    service: protectionService({ inventory, vaults, groups: groups.groups, jobs, captures, recoveries, files, aside, traffic }),
  };
}

/** The lists of changes that a VM brought along are made known where it is now, before anybody captures it. */
async function followMoves(captures: Captures, { jobs, log }: ProtectionNeeds, signal: AbortSignal): Promise<void> {
  for await (const { kind, state, subject } of jobs().watchAll({ signal })) {
    if (kind !== "vm.migrate" || !isFinal(state)) continue;
    captures.follower.moved(subject.id, { signal }).catch((error: unknown) => {
      if (!signal.aborted) log.info({ vm: subject.name, err: error }, "checkpoints are put back by the next capture only");
    });
  }
}

interface ServiceNeeds {
  readonly inventory: Inventory;
  readonly vaults: Vaults;
  readonly groups: GroupsPart["groups"];
  readonly jobs: () => JobRunner;
  readonly captures: Captures;
  readonly recoveries: Recoveries;
  readonly files: GuestFiles;
  readonly aside: KeptAside;
  readonly traffic: ReturnType<typeof networkTraffic>;
}

function protectionService(needs: ServiceNeeds): ProtectionPart["service"] {
  const { inventory, vaults, groups, jobs, captures, recoveries, files, aside, traffic } = needs;
  return {
    vaults: () => vaults.list(),
    addVault: (vault, cancellable) => vaults.add(vault, cancellable),
    async removeVault(ref) {
      const vault = await vaults.find(ref);
      await groups.needsNot(vault);
      const busy = jobs()
        .unfinished()
        .find(({ input }) => input["vaultId"] === vault.id);
      if (busy)
        throw new EngineError("conflict", `the vault ${vault.name} is needed by job ${busy.id} (${busy.title}): wait until it has ended`);
      await vaults.remove(vault.id);
    },
    captureInput: (wish) => captures.resolve(wish),
    recoverInput: (wish, cancellable) => recoveries.resolve(wish, cancellable),
    async routes(ref, options) {
      const { id } = inventory.host(ref);
      const routes = await traffic.routes(id, (asked) => captures.backup(id).tls(asked), options);
      return routes.map(({ view }) => view);
    },
    filesInput: (wish) => files.resolve(wish),
    filesRecoverInput: (wish, cancellable) => files.resolveRecovery(wish, cancellable),
    keptImages: () => aside.list(),
    confirmInput: (ref) => aside.confirm(ref),
    points: (filter, cancellable) => listFoundPoints(vaults, filter, cancellable),
    point: (ref, vault, cancellable) => findPoint(vaults, ref, vault, cancellable),
  };
}
