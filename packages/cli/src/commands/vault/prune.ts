import type { PrunePlan, PrunePolicies, PrunePolicy, PruneResult } from "@godwit/vault";
import { CliError, exitCode } from "../../exit.ts";
import { renderTable } from "../../output/table.ts";
import { openVault } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";
import { shortId } from "./words.ts";

export interface PruneFlags extends AccessFlags {
  readonly name: readonly string[];
  readonly keepLast?: number;
  readonly keepHourly?: number;
  readonly keepDaily?: number;
  readonly keepWeekly?: number;
  readonly keepMonthly?: number;
  readonly keepYearly?: number;
  readonly keepWithin?: number;
  readonly timeZone?: string;
  readonly dryRun: boolean;
}

function policiesOf(flags: PruneFlags): PrunePolicies {
  const rules: { readonly [K in keyof PrunePolicy]: PrunePolicy[K] | undefined } = {
    last: flags.keepLast,
    hourly: flags.keepHourly,
    daily: flags.keepDaily,
    weekly: flags.keepWeekly,
    monthly: flags.keepMonthly,
    yearly: flags.keepYearly,
    within: flags.keepWithin,
  };
  const policy = Object.fromEntries(Object.entries(rules).filter(([, value]) => value !== undefined)) as PrunePolicy;
  const zone = flags.timeZone === undefined ? {} : { timeZone: flags.timeZone };
  if (flags.name.length === 0) return { fallback: policy, ...zone };
  return { byName: Object.fromEntries(flags.name.map((name) => [name, policy])), ...zone };
}

/** `godwit vault prune`. */
export async function pruneVault(flags: PruneFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  await using opened = await openVault(flags, context);
  const plan = await opened.vault.planPrune(policiesOf(flags), { signal });
  const result = flags.dryRun ? undefined : await opened.vault.applyPrune(plan, { signal });
  await show(context, { ...plan, dryRun: flags.dryRun, ...result }, () => pruneTable(plan, result));
  if (result && result.skipped.length > 0) throw new CliError(exitCode.refused, `${result.skipped.length} points are held, and stay`);
}

function pruneTable(plan: PrunePlan, result: PruneResult | undefined): string {
  const table = renderTable(
    [
      { title: "POINT", value: (verdict) => shortId(verdict.id) },
      { title: "VM", value: (verdict) => verdict.name },
      { title: "TIME", value: (verdict) => verdict.time },
      { title: "", value: (verdict) => (verdict.keep ? "stays" : result ? "gone" : "would go") },
      { title: "WHY", value: (verdict) => verdict.reasons.join("; ") },
    ],
    plan.points,
  );
  const unknown = [...plan.damaged, ...plan.locked].map((id) => `${shortId(id)} cannot be read, and stays\n`);
  const skipped = result?.skipped.map(({ id, why }) => `${shortId(id)} stays after all: ${why}\n`) ?? [];
  return [table, ...unknown, ...skipped, result && result.deleted.length > 0 ? "'godwit vault gc' frees the space\n" : ""].join("");
}

/** `godwit vault delete`. */
export async function deletePoint(text: string, flags: AccessFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  // A name would mean its latest point, and the next run the one before: only ids are taken.
  if (!/^[0-9a-f]{4,32}$/.test(text)) throw new CliError(exitCode.usage, "name the point by its id, or the start of it");
  await using opened = await openVault(flags, context);
  const { id } = await opened.vault.point(text, { signal });
  await opened.vault.deletePoint(id, { signal });
  await show(context, { id }, () => `deleted ${shortId(id)}; 'godwit vault gc' frees the space\n`);
}
