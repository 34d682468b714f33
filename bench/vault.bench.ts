/**
 * The vault beside restic, borg and the plain tools, on data sets that it builds: whole commands by the
 * wall clock, warm caches, a fresh repository each round.
 *
 *   npm run bench -- vault [--quick] [--rounds N] [--data FOLDER] [--only CASE,CASE] [--tool NAME]...
 *
 * Cases: tools, changes, map, stored, memory. The data sets stay in the folder (by default below the
 * system's temporary folder), so that cases can be run one after the other.
 */
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { benchChanges, benchShapes } from "./vault/changes.ts";
import { full, prepare, quick } from "./vault/data.ts";
import { measureIndex } from "./vault/index-memory.ts";
import { benchMap } from "./vault/map.ts";
import { benchStored } from "./vault/stored.ts";
import { type CaseRow, renderCases } from "./vault/table.ts";
import { benchTools } from "./vault/versus.ts";

const cases = ["tools", "changes", "map", "stored", "memory"];

export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string", default: "3" },
      data: { type: "string" },
      only: { type: "string", default: cases.join(",") },
      tool: { type: "string", multiple: true, default: [] },
      chunks: { type: "string", default: "1,10" },
    },
  });
  const wanted = new Set(values.only.split(","));
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  const folder = values.data ?? join(tmpdir(), `godwit-bench-${values.quick ? "quick" : "full"}`);
  await mkdir(folder, { recursive: true });
  const sets = await prepare(folder, values.quick ? quick : full, say);
  const rounds = Number(values.rounds);
  const rows: CaseRow[] = [];
  if (wanted.has("tools")) rows.push(...(await benchTools(sets, { rounds, only: values.tool }, say)));
  if (wanted.has("changes")) rows.push(...(await benchChanges(sets, rounds, say)), ...(await benchShapes(sets)));
  if (wanted.has("map")) rows.push(...(await benchMap(sets, rounds, say)));
  if (wanted.has("stored")) rows.push(...(await benchStored(sets, values.tool, say)));
  if (wanted.has("memory")) rows.push(...(await benchIndex(folder, values.chunks.split(",").map(Number), say)));
  process.stdout.write(renderCases(rows));
}

async function benchIndex(folder: string, millions: readonly number[], say: (text: string) => void): Promise<CaseRow[]> {
  const rows: CaseRow[] = [];
  for (const million of millions) {
    say(`index of ${million} million chunks`);
    const { bytesPerChunk, openSeconds, absentPerSecond, presentPerSecond } = await measureIndex(folder, million * 1_000_000);
    const of = `of ${million} million chunks`;
    rows.push(
      { what: `index resident, ${of}`, unit: "bytes per chunk", ours: [bytesPerChunk], others: [], limit: 24 },
      { what: `index opened, ${of}`, unit: "s", ours: [openSeconds], others: [] },
      { what: `names not there, ${of}`, unit: "per ms", ours: [absentPerSecond / 1000], others: [] },
      { what: `names there, nothing cached, ${of}`, unit: "per ms", ours: [presentPerSecond / 1000], others: [] },
    );
  }
  return rows;
}
