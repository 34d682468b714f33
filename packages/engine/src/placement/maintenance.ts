import { type Clock, Semaphore } from "@godwit/core";
import type { MaintenanceRecord, MovedVm } from "../model/maintenance.ts";
import type { Reason } from "../model/reason.ts";
import type { Store } from "../ports/store.ts";

export interface MaintenanceOptions {
  readonly store: Pick<Store, "maintenance">;
  readonly clock: Clock;
}

/**
 * Which hosts are in maintenance, and what was taken away from them. Reads are answered from memory, writes are
 * durable when they resolve. Call `load` once before anything else.
 */
export class Maintenance {
  readonly #options: MaintenanceOptions;
  readonly #records = new Map<string, MaintenanceRecord>();
  readonly #writing = new Semaphore(1);

  constructor(options: MaintenanceOptions) {
    this.#options = options;
  }

  async load(): Promise<void> {
    for (const record of await this.#options.store.maintenance.list()) this.#records.set(record.hostId, record);
  }

  get(hostId: string): MaintenanceRecord | undefined {
    return this.#records.get(hostId);
  }

  /** Why no VM may land on the host now; undefined when it takes VMs. */
  closed(hostId: string): Reason | undefined {
    const record = this.#records.get(hostId);
    if (!record || record.state === "open") return undefined;
    return { code: "maintenance", text: `the host is in maintenance (${record.state}): ${record.reason.text}` };
  }

  /** Puts a host into a state; what was moved off it before stays known. */
  async enter(hostId: string, entry: Pick<MaintenanceRecord, "state" | "reason" | "jobId" | "returning">): Promise<void> {
    await this.#change(hostId, (before) => ({
      hostId,
      ...entry,
      since: new Date(this.#options.clock.now()).toISOString(),
      moved: before?.moved ?? [],
    }));
  }

  /** A drain took a VM away. Noting it twice is harmless. */
  async noteMoved(hostId: string, vm: MovedVm): Promise<void> {
    await this.#change(hostId, (before) => before && { ...before, moved: [...before.moved.filter(({ vmId }) => vmId !== vm.vmId), vm] });
  }

  /** It is back, or will never be. */
  async forgetMoved(hostId: string, vmId: string): Promise<void> {
    await this.#change(hostId, (before) => before && { ...before, moved: before.moved.filter((one) => one.vmId !== vmId) });
  }

  /** The host is as every other again. No error when it was. */
  async leave(hostId: string): Promise<void> {
    await this.#change(hostId, () => undefined);
  }

  async #change(hostId: string, decide: (before: MaintenanceRecord | undefined) => MaintenanceRecord | undefined): Promise<void> {
    using _writing = await this.#writing.acquire();
    const after = decide(this.#records.get(hostId));
    if (after) {
      await this.#options.store.maintenance.put(hostId, after);
      this.#records.set(hostId, after);
    } else {
      await this.#options.store.maintenance.delete(hostId);
      this.#records.delete(hostId);
    }
  }
}
