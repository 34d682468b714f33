import type { GcResult, Point, PrunePlan } from "@godwit/vault";
import type { JobKind } from "../jobs/job.ts";
import type { Collection } from "../ports/store.ts";
import type { MemberRecord, ProtectionGroup } from "./groups/model.ts";
import { policiesFor, strictest } from "./groups/retention.ts";
import { vmIdOf } from "./points.ts";
import type { Vaults } from "./vaults.ts";

export type RetainInput = {
  readonly vmId: string;
  readonly vm: string;
  readonly vaultId: string;
  readonly vault: string;
  /** What its points are named; as the VM unless given. */
  readonly points?: string;
};
export type GcInput = { readonly vaultId: string; readonly vault: string };

export interface RetentionOptions {
  readonly vaults: Pick<Vaults, "open">;
  readonly groups: Collection<ProtectionGroup>;
  readonly members: Collection<MemberRecord>;
  /** Points that something is read from now, by id, and what that is: they go with a later run. */
  readonly inUse?: () => ReadonlyMap<string, string>;
  /** Queues a gc; at most one a day and vault. */
  readonly submitGc: (input: GcInput) => Promise<void>;
}

/** What one retention run did. */
export interface RetainResult {
  readonly kept: number;
  readonly deleted: readonly { readonly id: string; readonly time: string; readonly reasons: readonly string[] }[];
  readonly skipped: readonly { readonly id: string; readonly why: string }[];
}

/** At a time: what more is dead waits for the next run. */
const rewriteBytes = 2 ** 30;

/** Lets the points of one VM go that the retention of no group keeps. May run twice. */
export function retainJob({ vaults, groups, members, inUse, submitGc }: RetentionOptions): JobKind<RetainInput> {
  return {
    kind: "vault.retain",
    title: ({ vm, vault }) => `let old points of ${vm} go from ${vault}`,
    subject: ({ vmId, vm }) => ({ type: "vm", id: vmId, name: vm }),
    locks: ({ vmId, vaultId }) => [`retain:${vaultId}:${vmId}`],
    slots: () => [],
    async run(context): Promise<RetainResult> {
      const { input, signal } = context;
      const { vmId, vm, points = vm } = input;
      const policies = policiesFor(await groups.list(), await members.list(), input);
      const vault = await vaults.open(input.vaultId, { signal });
      // VMs of several hosts may have the same name, and a VM may have had another one: points say whose they are.
      const nameOf = (point: Point): string | undefined => {
        const id = vmIdOf(point);
        if (id === undefined) return point.name;
        return id === vmId ? vm : undefined;
      };
      const plans = [];
      for (const { group, timeZone, policy } of policies)
        plans.push({ group, plan: await vault.planPrune({ byName: { [points]: policy }, timeZone }, { signal, nameOf }) });
      const plan = withoutUsed(strictest(plans, points), inUse?.() ?? new Map());
      const { deleted, skipped } = await vault.applyPrune(plan, { signal });
      const gone = plan.points.filter(({ id }) => deleted.includes(id));
      for (const { time, reasons } of gone)
        await context.reason({ code: "let-go", text: `the point of ${time} goes: ${reasons.join("; ")}` });
      if (gone.length > 0) await submitGc({ vaultId: input.vaultId, vault: input.vault });
      return { kept: plan.points.length - gone.length, deleted: gone.map(({ id, time, reasons }) => ({ id, time, reasons })), skipped };
    },
  };
}

function withoutUsed(plan: PrunePlan, inUse: ReadonlyMap<string, string>): PrunePlan {
  const points = plan.points.map((point) => {
    const by = inUse.get(point.id);
    return by === undefined ? point : { ...point, keep: true, reasons: [...(point.keep ? point.reasons : []), `${by} reads it`] };
  });
  return { ...plan, points };
}

/** Frees what no point of a vault needs, in bounded runs. */
export function gcJob({ vaults }: Pick<RetentionOptions, "vaults">): JobKind<GcInput> {
  return {
    kind: "vault.gc",
    title: ({ vault }) => `free space of ${vault}`,
    subject: ({ vaultId, vault }) => ({ type: "vault", id: vaultId, name: vault }),
    locks: ({ vaultId }) => [`gc:${vaultId}`],
    slots: () => [],
    async run(context): Promise<GcResult> {
      const { input, signal } = context;
      const vault = await vaults.open(input.vaultId, { signal });
      return await vault.gc({ signal, maxRewriteBytes: rewriteBytes, onProgress: ({ step }) => context.progress({ phase: step }) });
    },
  };
}
