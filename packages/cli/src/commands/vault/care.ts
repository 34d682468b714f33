import type { Point, VerifyResult } from "@godwit/vault";
import { CliError, exitCode } from "../../exit.ts";
import { renderFields } from "../../output/table.ts";
import { openVault } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";
import { Meter } from "./meter.ts";
import { verifyTable } from "./tables.ts";

export interface VerifyFlags extends AccessFlags {
  /** Bytes of packs to read. */
  readonly budget?: number;
  readonly quarantine: boolean;
}

/** `godwit vault verify`. Ends with "refused" when anything is damaged. */
export async function verifyVault(points: readonly string[], flags: VerifyFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  if (points.length > 0 && flags.budget !== undefined)
    throw new CliError(exitCode.usage, "--budget is for the whole vault, not for points");
  await using opened = await openVault(flags, context);
  const chosen: Point[] = [];
  for (const text of points) chosen.push(await opened.vault.point(text, { signal }));
  const result = await withMeter(context, (onProgress) =>
    opened.vault.verify({
      signal,
      packs: flags.budget === undefined ? "all" : { bytes: flags.budget },
      quarantine: flags.quarantine,
      ...(chosen.length > 0 ? { points: chosen } : {}),
      onProgress,
    }),
  );
  await show(context, result, verifyTable);
  const hurt = result.damage.length + result.hurt.length + result.lostPoints.length;
  if (hurt > 0) throw new CliError(exitCode.refused, "the vault is damaged; points that are not named above are whole");
}

type OnProgress = (progress: { readonly step: string; readonly bytes: number }) => void;

async function withMeter(context: VaultContext, body: (onProgress: OnProgress) => Promise<VerifyResult>): Promise<VerifyResult> {
  using meter = new Meter(context.err);
  return await body(({ step, bytes }) => meter.show(`verifying ${step}`, bytes, 0));
}

/** `godwit vault repair`. */
export async function repairVault(flags: AccessFlags, context: VaultContext): Promise<void> {
  await using opened = await openVault(flags, context);
  const result = await opened.vault.repair({ signal: context.signal });
  await show(context, result, ({ config, packsIndexed, packsUnreadable, segmentsRemoved }) =>
    renderFields([
      ["config", config ? "written anew" : "in order"],
      ["packs indexed", packsIndexed],
      ["indexes replaced", segmentsRemoved.length],
      ["packs beyond help", packsUnreadable.length > 0 ? packsUnreadable.join(", ") : undefined],
    ]),
  );
}
