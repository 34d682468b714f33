import { describeError } from "@godwit/core";
import { VaultError } from "../../errors.ts";
import type { VaultParts } from "../../parts.ts";
import { StoreError } from "../../store/blob-store.ts";
import { deletePoint } from "../holds.ts";
import type { PrunePlan } from "./plan.ts";

export interface PruneResult {
  /** Ids. */
  readonly deleted: readonly string[];
  /** Points that the plan would delete and that stayed: held meanwhile, or locked by the storage. */
  readonly skipped: readonly { readonly id: string; readonly why: string }[];
}

/** Deletes what the plan says, oldest first; may be run twice. What the points alone needed stays until gc. */
export async function applyPrune(
  parts: Pick<VaultParts, "store" | "keys" | "clock">,
  plan: PrunePlan,
  options: { readonly signal: AbortSignal; readonly onProgress?: (done: number) => void },
): Promise<PruneResult> {
  const deleted: string[] = [];
  const skipped: { id: string; why: string }[] = [];
  for (const { id, keep } of plan.points.toReversed()) {
    if (keep) continue;
    try {
      await deletePoint(parts, id, options.signal);
      deleted.push(id);
    } catch (error) {
      const held = error instanceof VaultError && error.kind === "held";
      if (!held && !(error instanceof StoreError && error.kind === "retained")) throw error;
      skipped.push({ id, why: describeError(error) });
    }
    options.onProgress?.(deleted.length + skipped.length);
  }
  return { deleted, skipped };
}
