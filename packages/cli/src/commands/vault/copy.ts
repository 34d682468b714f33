import { type Compression, copyPoints, type CopyProgress, type CopyResult, type Point } from "@godwit/vault";
import { CliError, exitCode } from "../../exit.ts";
import { renderTable } from "../../output/table.ts";
import { formatBytes } from "../../output/units.ts";
import { openVault } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";
import { Meter } from "./meter.ts";
import { shortId } from "./words.ts";

export interface CopyFlags extends AccessFlags {
  readonly to: string;
  readonly toPassphraseFile?: string;
  readonly toKeyFile?: string;
  readonly compression: Compression;
}

/** `godwit vault copy`. */
export async function copyVault(points: readonly string[], flags: CopyFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  const { to: vault, toPassphraseFile: passphraseFile, toKeyFile: keyFile } = flags;
  const own = passphraseFile === undefined && keyFile === undefined;
  const there = own
    ? { ...flags, vault }
    : { vault, ...(passphraseFile === undefined ? {} : { passphraseFile }), ...(keyFile === undefined ? {} : { keyFile }) };
  await using from = await openVault(flags, context);
  await using to = await openVault(there, context, { compression: flags.compression });
  const chosen: Point[] = [];
  for (const text of points) chosen.push(await from.vault.point(text, { signal }));
  const result = await withMeter(context, (onProgress) =>
    copyPoints(from.vault, to.vault, { signal, onProgress, ...(chosen.length > 0 ? { points: chosen } : {}) }),
  );
  await show(context, result, copyTable);
  if (result.failed.length > 0) throw new CliError(exitCode.failed, `${result.failed.length} points could not be copied whole`);
}

async function withMeter(
  context: VaultContext,
  body: (onProgress: (progress: CopyProgress) => void) => Promise<CopyResult>,
): Promise<CopyResult> {
  using meter = new Meter(context.err);
  return await body(({ point, disk, offset, size, done, of }) =>
    meter.show(`${shortId(point)} ${disk}`, offset, size, `point ${done + 1} of ${of}`),
  );
}

function copyTable({ copied, present, failed, storedBytes }: CopyResult): string {
  const table = renderTable(
    [
      { title: "POINT", value: (one) => shortId(one.from) },
      { title: "COPY", value: (one) => shortId(one.to) },
    ],
    copied,
  );
  const lost = failed.map(({ id, why }) => `${shortId(id)} was not copied: ${why}\n`).join("");
  return `${table}${lost}${copied.length} copied, ${present.length} there already, ${formatBytes(storedBytes)} stored\n`;
}
