import type { GcOptions, GcProgress, GcResult } from "@godwit/vault";
import { renderFields } from "../../output/table.ts";
import { formatBytes } from "../../output/units.ts";
import { openVault } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";
import { Meter } from "./meter.ts";

export interface GcFlags extends AccessFlags {
  readonly dryRun: boolean;
  readonly maxRewrite?: number;
  readonly wait?: number;
}

/** `godwit vault gc`. */
export async function collectGarbage(flags: GcFlags, context: VaultContext): Promise<void> {
  await using opened = await openVault(flags, context);
  const result = await withMeter(context, (onProgress) =>
    opened.vault.gc({ ...gcOptions(flags, context.signal), dryRun: flags.dryRun, onProgress }),
  );
  await show(context, result, gcTable);
}

export function gcOptions({ maxRewrite, wait }: Pick<GcFlags, "maxRewrite" | "wait">, signal: AbortSignal): GcOptions {
  return { signal, ...(maxRewrite === undefined ? {} : { maxRewriteBytes: maxRewrite }), ...(wait === undefined ? {} : { waitMs: wait }) };
}

async function withMeter<T>(context: VaultContext, body: (onProgress: (progress: GcProgress) => void) => Promise<T>): Promise<T> {
  using meter = new Meter(context.err);
  return await body((progress) => meter.show(progress.step, progress.step === "rewrite" ? progress.bytes : 0, 0));
}

export function gcTable(result: GcResult): string {
  const fields = renderFields([
    ["points", result.points],
    ["needed", `${result.liveItems} of ${result.items} chunks and nodes, in ${result.packs} packs`],
    ["of no use", `${result.deadPacks} packs, ${formatBytes(result.deadBytes)}`],
    ["rewritten", `${result.rewrittenPacks} packs, ${formatBytes(result.copiedBytes)}`],
    ["for the next run", result.postponedPacks > 0 ? `${result.postponedPacks} packs` : undefined],
    ["freed", `${result.deletedPacks} packs, ${formatBytes(result.freedBytes)}`],
  ]);
  const pending = result.pending.map(({ mark, why }) => `  ${mark} waits: ${why}\n`).join("");
  const stale = result.givenUp.map((session) => `  session ${session} of a dead machine was given up\n`).join("");
  return fields + pending + stale;
}
