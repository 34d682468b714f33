import { raceAbort } from "@godwit/core";
import type { HostBackup } from "../ports/backup.ts";
import type { Collection } from "../ports/store.ts";
import { type TrackingRecord, trackingId } from "./model.ts";

export interface FollowerOptions {
  readonly tracking: Pick<Collection<TrackingRecord>, "get">;
  /** Ids of the registered vaults. */
  readonly vaultIds: () => Promise<readonly string[]>;
  /** The backup side of the host that a VM runs on; undefined for one that is off, of which no list can be checked. */
  readonly backupOf: (vmId: string) => HostBackup | undefined;
}

/**
 * Puts checkpoints back as soon as a VM has moved, so that its next capture finds them. Nothing depends on it: a capture
 * waits for it while it is under way, and does itself what could not be done.
 */
export class Follower {
  readonly #options: FollowerOptions;
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(options: FollowerOptions) {
    this.#options = options;
  }

  /** Begins it for a VM that has just moved. Rejects when a host refuses. */
  async moved(vmId: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const before = this.settled(vmId, { signal });
    const own = before.then(() => this.#putBack(vmId, signal));
    this.#underWay.set(vmId, own);
    try {
      await own;
    } finally {
      if (this.#underWay.get(vmId) === own) this.#underWay.delete(vmId);
    }
  }

  /** Resolves when nothing of it is under way for that VM, however it ended. */
  async settled(vmId: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const own = this.#underWay.get(vmId)?.catch(() => undefined);
    if (own) await raceAbort(own, signal);
  }

  async #putBack(vmId: string, signal: AbortSignal): Promise<void> {
    const records = await Promise.all(
      (await this.#options.vaultIds()).map((vaultId) => this.#options.tracking.get(trackingId({ vmId, vaultId }))),
    );
    for (const record of records) if (record) await this.#options.backupOf(vmId)?.restoreCheckpoint(vmId, record.xml, { signal });
  }
}
