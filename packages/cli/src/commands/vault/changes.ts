import { open } from "node:fs/promises";
import type { Extent } from "@godwit/core";
import { CliError, exitCode } from "../../exit.ts";

/** Some ten million extents; a list that is longer is better read from a bitmap. */
const maxListBytes = 512 << 20;

/**
 * A list of changed extents: a JSON array of `{"offset" or "start", "length"}`, with `"kind":"zero"` or
 * `"zero":true` for what reads as zeros, and `"dirty":false` for what did not change. So the output of
 * `godwit vault diff -o json` and of `qemu-img map --output=json` will do.
 */
export async function readChangeList(path: string): Promise<Extent[]> {
  let list: unknown;
  try {
    await using file = await open(path, "r");
    const { size } = await file.stat();
    if (size > maxListBytes) throw new Error(`it has ${size} bytes, at most ${maxListBytes} are read`);
    list = JSON.parse(await file.readFile("utf8"));
  } catch (cause) {
    throw new CliError(exitCode.usage, `cannot read the list of changes ${path}`, { cause });
  }
  return parseChangeList(list, path);
}

/** Sorted, and what overlaps taken together; a place that any entry calls data is data. */
export function parseChangeList(list: unknown, where: string): Extent[] {
  const fail = (why: string): CliError => new CliError(exitCode.usage, `${where} is no list of changes: ${why}`);
  if (!Array.isArray(list)) throw fail("a JSON array of {offset, length} is needed");
  const extents: Extent[] = [];
  for (const [index, entry] of list.entries()) {
    const fields = (typeof entry === "object" && entry !== null ? entry : {}) as Readonly<Record<string, unknown>>;
    const offset = fields["offset"] ?? fields["start"];
    const { length } = fields;
    if (typeof offset !== "number" || !Number.isSafeInteger(offset) || offset < 0) throw fail(`entry ${index} has no offset`);
    if (typeof length !== "number" || !Number.isSafeInteger(offset + length) || length < 0) throw fail(`entry ${index} has no length`);
    if (fields["dirty"] === false || length === 0) continue;
    extents.push({ offset, length, kind: fields["kind"] === "zero" || fields["zero"] === true ? "zero" : "data" });
  }
  extents.sort((a, b) => a.offset - b.offset);
  return withoutOverlaps(extents);
}

function withoutOverlaps(sorted: readonly Extent[]): Extent[] {
  const extents: { offset: number; length: number; kind: Extent["kind"] }[] = [];
  for (const extent of sorted) {
    const last = extents.at(-1);
    if (last && extent.offset < last.offset + last.length) {
      last.length = Math.max(last.length, extent.offset + extent.length - last.offset);
      if (extent.kind === "data") last.kind = "data";
    } else {
      extents.push({ ...extent });
    }
  }
  return extents;
}
