import { type Clock, describeError } from "@godwit/core";
import type { JobKind } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { VmView } from "../model/vm.ts";
import type { Collection } from "../ports/store.ts";
import type { Recoveries } from "./service.ts";

/** Images that a VM had before a recovery replaced them. */
export interface KeptImages {
  /** The recovery's job. */
  readonly id: string;
  readonly vmId: string;
  readonly vm: string;
  /** Where they are. */
  readonly hostId: string;
  readonly host: string;
  readonly paths: readonly string[];
  /** RFC 3339. */
  readonly since: string;
  /** `boots`: until the VM runs on its new images and its agent answers; `confirmed`: until an admin says so. */
  readonly until: "boots" | "confirmed";
}

export type ConfirmInput = {
  readonly vmId: string;
  readonly vm: string;
  /** Which of its kept images go, by the job that kept them. */
  readonly kept: readonly string[];
  /** What says that the VM is well. */
  readonly proof: string;
};

export interface ConfirmResult {
  readonly vm: string;
  readonly removed: readonly string[];
  /** Still there, with the reason; they are not looked after any more. */
  readonly left: readonly { readonly path: string; readonly reason: string }[];
}

export interface KeptAsideOptions {
  readonly kept: Collection<KeptImages>;
  readonly recoveries: Recoveries;
  readonly vms: () => readonly VmView[];
  /** Queues the removal; the same key never queues a second one. */
  readonly submit: (input: ConfirmInput, idempotencyKey: string) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: { warn(fields: object, text: string): void };
}

const lookMs = 10_000;

/** Images that were kept aside, until the VM that has new ones has proven itself. */
export class KeptAside {
  readonly options: KeptAsideOptions;

  constructor(options: KeptAsideOptions) {
    this.options = options;
  }

  /** Oldest first. */
  async list(): Promise<KeptImages[]> {
    return (await this.options.kept.list()).toSorted((a, b) => (a.since < b.since ? -1 : 1));
  }

  /** The input of the job that removes what is kept of a VM, as an admin wants. Throws `not-found` when nothing is. */
  async confirm(ref: string): Promise<ConfirmInput> {
    const all = (await this.list()).filter(({ vmId, vm }) => vmId === ref || vm === ref);
    const [first] = all;
    if (!first) throw new EngineError("not-found", `no image of '${ref}' is kept aside: 'godwit recover kept' lists what is`);
    if (all.some(({ vmId }) => vmId !== first.vmId)) throw new EngineError("ambiguous", `'${ref}' is the name of several VMs: use an id`);
    return { vmId: first.vmId, vm: first.vm, kept: all.map(({ id }) => id), proof: "an admin said so" };
  }

  /** Looks now and again at VMs whose old images wait for them, until `signal` fires. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.look(signal);
      } catch (error) {
        if (!signal.aborted) this.options.log.warn({ err: error }, `images kept aside could not be looked at: ${describeError(error)}`);
      }
      await this.options.clock.sleep(lookMs, { signal }).catch(() => undefined);
    }
  }

  async look(signal: AbortSignal): Promise<void> {
    for (const { id, vmId, vm, paths, until } of await this.list()) {
      if (until !== "boots" || !(await this.#booted(vmId, paths, signal))) continue;
      const proof = "it runs on its new images, and its agent answers";
      // One that failed is tried again in the next hour.
      const hour = new Date(this.options.clock.now()).toISOString().slice(0, 13);
      await this.options.submit({ vmId, vm, kept: [id], proof }, `confirm-recovery ${id} ${hour}`);
    }
  }

  /** False also while nobody can tell. */
  async #booted(vmId: string, paths: readonly string[], signal: AbortSignal): Promise<boolean> {
    const seen = this.options.vms().find(({ id }) => id === vmId);
    if (seen?.state !== "running") return false;
    const { captures } = this.options.recoveries.options;
    try {
      const { state, agent, disks } = await captures.backup(seen.hostId).facts(vmId, { signal });
      return state === "running" && agent === "connected" && disks.every(({ path }) => path === undefined || !paths.includes(path));
    } catch (error) {
      if (error instanceof EngineError) return false;
      throw error;
    }
  }
}

/** The job that removes images which were kept aside. Those that a VM uses stay. May run twice. */
export function confirmRecoveryJob(aside: KeptAside): JobKind<ConfirmInput> {
  return {
    kind: "vm.confirm-recovery",
    title: ({ vm }) => `remove what was kept aside of ${vm}`,
    subject: ({ vmId, vm }) => ({ type: "vm", id: vmId, name: vm }),
    locks: ({ vmId }) => [`vm:${vmId}`],
    slots: () => [],
    async run(context): Promise<ConfirmResult> {
      const { input, signal } = context;
      const { kept, recoveries, vms } = aside.options;
      await context.reason({ code: "confirmed", text: input.proof });
      const removed: string[] = [];
      const left: { path: string; reason: string }[] = [];
      for (const id of input.kept) {
        const record = await kept.get(id);
        if (!record) continue;
        const used = new Map(
          vms().flatMap(({ name, disks }) => disks.flatMap((disk) => pathsOf(disk).map((path) => [path, name] as const))),
        );
        const free = record.paths.filter((path) => !used.has(path));
        left.push(...record.paths.filter((path) => used.has(path)).map((path) => ({ path, reason: `${used.get(path) ?? ""} uses it` })));
        const failed = await recoveries.recovery(record.hostId).deleteImages(free, { signal });
        left.push(...failed);
        removed.push(...free.filter((path) => !failed.some((one) => one.path === path)));
        await kept.delete(id);
      }
      for (const one of left) await context.reason({ code: "left", text: `${one.path} stays: ${one.reason}` });
      return { vm: input.vm, removed, left };
    },
  };
}

function pathsOf({ source, backingChain }: VmView["disks"][number]): string[] {
  return [...(source.path === undefined ? [] : [source.path]), ...backingChain];
}
