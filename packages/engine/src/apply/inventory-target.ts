import { withDeadline } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { HostRecord } from "../model/host.ts";
import { findCandidates } from "../network/candidates.ts";
import { readHostNetwork } from "../network/gather.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";
import type { HostShell } from "../ports/shell.ts";
import type { Store } from "../ports/store.ts";
import type { ApplyTarget, CheckedHost, KnownHost, WantedHost } from "./target.ts";

interface Cancellable {
  readonly signal: AbortSignal;
}

export interface InventoryTargetOptions {
  readonly inventory: {
    addHost(host: WantedHost, options: Cancellable): Promise<{ readonly id: string }>;
    removeHost(id: string): Promise<void>;
  };
  readonly store: Pick<Store, "hosts">;
  /** As the inventory opens them. */
  readonly openHost: (record: HostRecord, options: Cancellable & { readonly shell: HostShell | undefined }) => Promise<HypervisorHost>;
  readonly openShell: (record: HostRecord) => HostShell | undefined;
}

const CHECK_MS = 20_000;

/** An inventory as `apply` needs it: hosts can also be asked before they are added. */
export class InventoryTarget implements ApplyTarget {
  readonly #options: InventoryTargetOptions;

  constructor(options: InventoryTargetOptions) {
    this.#options = options;
  }

  async hosts(): Promise<KnownHost[]> {
    const records = await this.#options.store.hosts.list();
    return records.map(({ id, name, uri, ssh }) => ({ id, name, uri, ...(ssh ? { ssh } : {}) }));
  }

  /** Connects and asks for the machine's UUID and, if it has a shell, its subnets; closes everything. */
  async checkHost(wanted: WantedHost, { signal }: Cancellable): Promise<CheckedHost> {
    const late = (): Error =>
      new EngineError("host-lost", `${wanted.uri} does not answer within ${CHECK_MS / 1000} s`, { host: wanted.name });
    return await withDeadline(CHECK_MS, late, signal, (within) => this.#ask(wanted, within));
  }

  async addHost(host: WantedHost, options: Cancellable): Promise<{ readonly id: string }> {
    return await this.#options.inventory.addHost(host, options);
  }

  async removeHost(id: string): Promise<void> {
    try {
      await this.#options.inventory.removeHost(id);
    } catch (error) {
      if (!(error instanceof EngineError && error.kind === "not-found")) throw error;
    }
  }

  async #ask(wanted: WantedHost, signal: AbortSignal): Promise<CheckedHost> {
    const record: HostRecord = { ...wanted, id: "", addedAt: "" };
    await using stack = new AsyncDisposableStack();
    const shell = this.#options.openShell(record);
    if (shell) stack.use(shell);
    const host = stack.use(await this.#options.openHost(record, { signal, shell }));
    if (!shell) return { id: host.uuid };
    const facts = await readHostNetwork(shell, signal);
    const { candidates } = findCandidates([{ id: host.uuid, name: wanted.name, state: "up", facts }]);
    return { id: host.uuid, subnets: candidates.flatMap(({ subnets }) => subnets) };
  }
}
