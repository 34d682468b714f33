import { pointToJson } from "@godwit/vault";
import { renderTable } from "../../output/table.ts";
import { formatBytes } from "../../output/units.ts";
import { openVault } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";
import { pointsTable, pointTable } from "./tables.ts";
import { splitPoint } from "./words.ts";

/** `godwit vault list`. */
export async function listPoints(flags: AccessFlags & { readonly name?: string }, context: VaultContext): Promise<void> {
  await using opened = await openVault(flags, context);
  const list = await opened.vault.points({ signal: context.signal, ...(flags.name === undefined ? {} : { name: flags.name }) });
  if (context.format === "table") return context.out.write(pointsTable(list));
  const { damaged, locked } = list;
  await show(context, { points: list.points.map(pointToJson), damaged, locked }, () => "");
}

/** `godwit vault show`. */
export async function showPoint(text: string, flags: AccessFlags & { readonly definition: boolean }, context: VaultContext): Promise<void> {
  await using opened = await openVault(flags, context);
  const point = await opened.vault.point(text, { signal: context.signal });
  if (flags.definition) return context.out.write(point.machine?.definition ?? "");
  await show(context, pointToJson(point), () => pointTable(point));
}

/** `godwit vault diff`. JSON is written as it comes: a difference may be long. */
export async function diffPoints(from: string, to: string, flags: AccessFlags, context: VaultContext): Promise<void> {
  const { signal, format, out } = context;
  await using opened = await openVault(flags, context);
  const target = splitPoint(to);
  const [before, after] = [await opened.vault.point(from, { signal }), await opened.vault.point(target.point, { signal })];
  const extents = opened.vault.diff(before, after, target.disk, { signal });
  if (format === "json") {
    let separator = "[\n";
    for await (const extent of extents) {
      out.write(`${separator}  ${JSON.stringify(extent)}`);
      separator = ",\n";
    }
    return out.write(separator === "[\n" ? "[]\n" : "\n]\n");
  }
  const all = await Array.fromAsync(extents);
  await show(context, all, () => {
    const total = all.reduce((sum, { length }) => sum + length, 0);
    const table = renderTable(
      [
        { title: "OFFSET", value: (extent) => extent.offset, align: "right" },
        { title: "LENGTH", value: (extent) => extent.length, align: "right" },
        { title: "NOW", value: (extent) => extent.kind },
      ],
      all,
    );
    return `${table}${formatBytes(total)} in ${all.length} places\n`;
  });
}
