import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "@godwit/core";
import type { Vault } from "@godwit/vault";
import { EngineError } from "../model/errors.ts";
import type { VmView } from "../model/vm.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";
import type { HostRecovery } from "../ports/recovery.ts";
import type { HostShell } from "../ports/shell.ts";
import { vmIdOf } from "../protection/points.ts";
import { type Captures, findPoint } from "../protection/index.ts";
import type { Collection } from "../ports/store.ts";
import type { KeptImages } from "./kept.ts";
import type { RecoverInput, RecoverWish } from "./model.ts";

export interface RecoveriesOptions {
  /** Where it is written down what was kept aside. */
  readonly kept: Collection<KeptImages>;
  readonly captures: Captures;
  readonly open: (host: HypervisorHost, shell: HostShell) => HostRecovery;
  /** Recoveries at once, of all hosts together. Default: 2. */
  readonly atOnce?: number;
  readonly clock?: Clock;
}

interface Cancellable {
  readonly signal: AbortSignal;
}

/** Finds out what a recovery means, and reaches what it needs. */
export class Recoveries {
  readonly options: RecoveriesOptions & { readonly clock: Clock; readonly atOnce: number };

  constructor(options: RecoveriesOptions) {
    this.options = { clock: systemClock, atOnce: 2, ...options };
  }

  /** The input of a job `vm.recover`. Throws `not-found`, `ambiguous`, or `invalid` for what contradicts itself. */
  async resolve(wish: RecoverWish, { signal }: Cancellable): Promise<RecoverInput> {
    const { vaults, hosts } = this.options.captures.options;
    const { point, vault } = await findPoint(vaults, wish.point, wish.vault, { signal });
    const mode = wish.mode ?? "new";
    const original = vmIdOf(point);
    const present = original === undefined ? undefined : this.#vm(original);
    const host = this.#host(wish, present);
    // It may have been renamed since, and its hypervisor takes no other name for it.
    const standing = mode === "in-place" || mode === "replace" ? present?.name : undefined;
    if (standing !== undefined && wish.name !== undefined && wish.name !== standing)
      throw new EngineError("invalid", `${standing} keeps its name when it is recovered: name only a new VM`);
    if (!point.machine && mode !== "disk")
      throw new EngineError("invalid", "the recovery point holds disks and no VM: recover single disks with --only-disks");
    const fresh = mode === "disk" || (mode === "new" && (present !== undefined || wish.newIdentity === true));
    const { id, name } = hosts.host(host);
    return {
      mode,
      pointId: point.id,
      vaultId: vault.id,
      vault: vault.name,
      captured: point.name,
      hostId: id,
      host: name,
      vmId: fresh || original === undefined ? randomUUID() : original,
      vm: standing ?? wish.name ?? point.name,
      newIdentity: fresh,
      networks: wish.networks ?? {},
      start: wish.start ?? false,
      ...(wish.keepOld === true && { keepOld: true }),
      ...(wish.storagePool !== undefined && { storagePool: wish.storagePool }),
      ...(wish.disks !== undefined && { disks: wish.disks }),
    };
  }

  /** The vault opened anew, as others may have written to it; close it. */
  async openVault({ vaultId }: RecoverInput, { signal }: Cancellable): Promise<AsyncDisposable & { readonly vault: Vault }> {
    return await this.options.captures.options.vaults.openApart(vaultId, { signal });
  }

  recovery(hostId: string): HostRecovery {
    const { hosts } = this.options.captures.options;
    return this.options.open(hosts.hypervisor(hostId), hosts.shell(hostId));
  }

  #vm(id: string): VmView | undefined {
    try {
      return this.options.captures.options.hosts.vm(id);
    } catch (error) {
      if (error instanceof EngineError && error.kind === "not-found") return undefined;
      throw error;
    }
  }

  #host({ mode, to, storagePool }: RecoverWish, present: VmView | undefined): string {
    if (mode === "in-place" || mode === "replace") {
      if (!present) throw new EngineError("not-found", "the VM of this recovery point is on no host: recover it as a new one");
      if (to !== undefined && this.options.captures.options.hosts.host(to).id !== present.hostId) {
        throw new EngineError("invalid", `${present.name} is on ${present.host}: it cannot be replaced on another host`);
      }
      if (mode === "replace" && storagePool === undefined) throw new EngineError("invalid", "say where the new images go with --storage");
      return present.hostId;
    }
    if (to === undefined || storagePool === undefined) throw new EngineError("invalid", "say where it goes with --to and --storage");
    return to;
  }
}
