import { type Clock, systemClock } from "@godwit/core";
import { isNotFound, type Point, type Vault, VaultError } from "@godwit/vault";
import type { HostView } from "../model/host.ts";
import type { VmView } from "../model/vm.ts";
import { EngineError } from "../model/errors.ts";
import type { HostBackup } from "../ports/backup.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";
import type { HostShell } from "../ports/shell.ts";
import type { Collection } from "../ports/store.ts";
import { Follower } from "./follow.ts";
import { SharedPace } from "./shared-pace.ts";
import { CHECKPOINT_FILE, type CaptureInput, type TrackingRecord, trackingId } from "./model.ts";
import { vmIdOf } from "./points.ts";
import { type BackupTraffic, sshOnly } from "./traffic.ts";
import type { VaultAccess } from "./vaults.ts";

/** What protection needs of the inventory. */
export interface ProtectionHosts {
  host(ref: string): HostView;
  vm(ref: string): VmView;
  /** Throws `host-lost` while there is no connection. */
  hypervisor(hostId: string): HypervisorHost;
  /** Throws `invalid` for a host without one. */
  shell(hostId: string): HostShell;
}

/** A job that waits for a VM. */
export interface WaitingMove {
  readonly id: string;
  readonly title: string;
  /** It was asked to wait until a capture has ended. */
  readonly waits?: boolean | undefined;
  /** It starts or stops the VM, which waits for nobody. */
  readonly power?: boolean | undefined;
}

export interface CapturesOptions {
  readonly hosts: ProtectionHosts;
  readonly vaults: VaultAccess;
  readonly tracking: Collection<TrackingRecord>;
  /** The backup side of a connected host; its adapter knows how. */
  readonly open: (host: HypervisorHost, shell: HostShell) => HostBackup;
  /** A migration that waits for the VM to be let go. */
  readonly moveWaiting: (vmId: string) => WaitingMove | undefined;
  /** Queues a capture; the same key never queues a second one. Gives the job's id. */
  readonly submit: (input: CaptureInput, idempotencyKey: string) => Promise<string>;
  /** By which network disks go; the SSH session alone when absent. */
  readonly traffic?: BackupTraffic;
  /** What a group's captures may read together now, bytes a second; undefined: as fast as it goes. */
  readonly bandwidth?: (groupId: string) => Promise<number | undefined>;
  /** Captures of one host at the same time, as groups allow now; 2 when absent. */
  readonly perHost?: () => Promise<number>;
  /** Captures at the same time, whatever their hosts: each needs memory of the server's. */
  readonly atOnce?: number;
  readonly clock?: Clock;
}

export interface CaptureWish {
  readonly vm: string;
  readonly vault: string;
  readonly onMigration?: CaptureInput["onMigration"] | undefined;
  readonly atLeast?: CaptureInput["atLeast"] | undefined;
  readonly bandwidthBytesPerSecond?: number | undefined;
  readonly check?: boolean | undefined;
}

interface Cancellable {
  readonly signal: AbortSignal;
}

/** What the vault and the store know of a VM's last capture into a vault. */
export interface Known {
  readonly base?: Point | undefined;
  readonly tracking?: TrackingRecord | undefined;
}

/** What captures share: hosts, vaults, and the registry of checkpoints. */
export class Captures {
  readonly options: CapturesOptions & {
    readonly clock: Clock;
    readonly perHost: () => Promise<number>;
    readonly atOnce: number;
    readonly traffic: BackupTraffic;
  };
  readonly #shared = new Map<string, SharedPace>();
  /** Brings checkpoints after VMs that moved. */
  readonly follower: Follower;

  constructor(options: CapturesOptions) {
    this.options = { clock: systemClock, perHost: () => Promise.resolve(2), atOnce: 8, traffic: sshOnly, ...options };
    this.follower = new Follower({
      tracking: options.tracking,
      vaultIds: async () => (await options.vaults.list()).map(({ id }) => id),
      backupOf: (vmId) => {
        const { hostId, state } = this.place(vmId);
        return state === "running" ? this.backup(hostId) : undefined;
      },
    });
  }

  /** Names become ids; the input of a job `vm.capture`. Throws `not-found` or `ambiguous`. */
  async resolve(wish: CaptureWish): Promise<CaptureInput> {
    const vm = this.options.hosts.vm(wish.vm);
    const vault = await this.options.vaults.find(wish.vault);
    return {
      vmId: vm.id,
      vm: vm.name,
      vaultId: vault.id,
      vault: vault.name,
      onMigration: wish.onMigration ?? "park",
      atLeast: wish.atLeast ?? "crash",
      ...(wish.check === true && { check: true }),
      ...(wish.bandwidthBytesPerSecond !== undefined && { bandwidthBytesPerSecond: wish.bandwidthBytesPerSecond }),
    };
  }

  /** What the captures of a group share; undefined for one that belongs to none. */
  sharedPace({ groupId }: { readonly groupId?: string | undefined }): SharedPace | undefined {
    const { bandwidth, clock } = this.options;
    if (groupId === undefined || !bandwidth) return undefined;
    const shared = this.#shared.get(groupId) ?? new SharedPace(clock, () => bandwidth(groupId));
    this.#shared.set(groupId, shared);
    return shared;
  }

  /** Throws `host-lost` or, for a host without a shell, `invalid`. */
  backup(hostId: string): HostBackup {
    const { hosts, open } = this.options;
    return open(hosts.hypervisor(hostId), hosts.shell(hostId));
  }

  /**
   * The point that the hypervisor's list of changes begins with, by the registry or, where that was lost, by the
   * newest point of the VM; without a list, just the newest point.
   */
  async known(vault: Vault, { vmId, vm, vaultId }: CaptureInput, { signal }: Cancellable): Promise<Known> {
    const tracking = await this.options.tracking.get(trackingId({ vmId, vaultId }));
    const tracked = tracking && (await pointThere(vault, tracking.pointId, signal));
    if (tracked) return { base: tracked, tracking };
    const { points } = await vault.points({ signal });
    const base = points.findLast((point) => isOf(point, vmId, vm));
    return base ? { base, tracking: trackingOf(base, vmId, vaultId) } : {};
  }

  async track(record: TrackingRecord): Promise<void> {
    await this.options.tracking.put(trackingId(record), record);
  }

  /** Throws `not-found` when the VM is on no host. */
  place(vmId: string): VmView {
    const vm = this.options.hosts.vm(vmId);
    if (vm.state === "unknown") {
      throw new EngineError("host-lost", `${vm.name} cannot be captured: ${vm.host} does not answer`, { vm: vm.name, host: vm.host });
    }
    return vm;
  }
}

/** Undefined when it was let go, or is damaged. */
async function pointThere(vault: Vault, id: string, signal: AbortSignal): Promise<Point | undefined> {
  try {
    return await vault.point(id, { signal });
  } catch (error) {
    if (error instanceof VaultError || isNotFound(error)) return undefined;
    throw error;
  }
}

/** A point of that very VM; by its name where the point does not say. */
function isOf(point: Point, vmId: string, vm: string): boolean {
  const uuid = vmIdOf(point);
  return uuid === undefined ? point.name === vm : uuid === vmId;
}

function trackingOf(point: Point, vmId: string, vaultId: string): TrackingRecord | undefined {
  const file = point.machine?.files.find(({ name }) => name === CHECKPOINT_FILE);
  const xml = file && Buffer.from(file.data).toString("utf8");
  const checkpoint = xml && /<name>(godwit-[0-9a-z-]{1,80})<\/name>/.exec(xml)?.[1];
  return checkpoint ? { vmId, vaultId, pointId: point.id, checkpoint, xml } : undefined;
}
