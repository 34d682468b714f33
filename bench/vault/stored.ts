import { join } from "node:path";
import type { DataSets } from "./data.ts";
import type { CaseRow } from "./table.ts";
import { BorgTool, GodwitTool, makePlaces, ResticTool, type Tool } from "./tools.ts";

const mib = 2 ** 20;
const pageBytes = 8 << 10;

/** What is stored after the first put, and after seven days of updates to a database. */
export async function benchStored(sets: DataSets, only: readonly string[], say: (text: string) => void): Promise<CaseRow[]> {
  const places = await makePlaces(join(sets.folder, "work"));
  const grids = ["64K", "32K", "16K", "8K", "4K"].map((grid) => new GodwitTool(places, { grid }));
  const small = new GodwitTool(places, { compression: "small" });
  const all: readonly Tool[] = [...grids, small, new ResticTool(places), new BorgTool(places), new BorgTool(places, `fixed,${64 << 10}`)];
  const tools = all.filter(({ name }) => only.length === 0 || only.includes(name));
  const guest = await storedBy(tools, [sets.guest], say);
  const database = await storedBy(tools, sets.databases, say);
  return [
    ...rowsOf("stored, first put of the guest", guest),
    ...rowsOf("stored, first put of the guest, --compression small", guest, small.name),
    ...secondsOf("first put of the guest, --compression small", guest, small.name),
    ...rowsOf("stored, database and seven days", database),
    ...rowsOf("stored, database and seven days, --compression small", database, small.name),
    ...amplifications(sets, grids, database),
  ];
}

type Stored = ReadonlyMap<string, { readonly seconds: number; readonly first: number; readonly last: number }>;

async function storedBy(tools: readonly Tool[], images: readonly string[], say: (text: string) => void): Promise<Stored> {
  const stored = new Map<string, { seconds: number; first: number; last: number }>();
  for (const tool of tools) {
    say(`stored bytes: ${tool.name}`);
    await tool.init();
    let [seconds, first] = [0, 0];
    for (const image of images) {
      const ran = await tool.put(image);
      if (first === 0) [seconds, first] = [ran.seconds, await tool.storedBytes()];
    }
    const last = await tool.storedBytes();
    stored.set(tool.name, { seconds, first, last });
    say(`  ${seconds.toFixed(2)} s, ${(first / mib).toFixed(1)} MiB first, ${(last / mib).toFixed(1)} MiB last`);
  }
  return stored;
}

/** None where our tool was left out. */
function rowsOf(what: string, stored: Stored, tool = "godwit"): CaseRow[] {
  const ours = stored.get(tool);
  if (!ours) return [];
  const others = [...stored]
    .filter(([name]) => name !== tool)
    .map(([name, { last }]) => ({ name, values: [last / mib], ...(name.startsWith("godwit") ? {} : { atLeast: 1 }) }));
  return [{ what, unit: "MiB", ours: [ours.last / mib], others }];
}

/** What the smaller bytes cost in time. */
function secondsOf(what: string, stored: Stored, tool: string): CaseRow[] {
  const ours = stored.get(tool);
  if (!ours) return [];
  const others = [...stored].filter(([name]) => !name.startsWith("godwit"));
  return [
    { what, unit: "s", ours: [ours.seconds], others: others.map(([name, { seconds }]) => ({ name, values: [seconds], atLeast: 1 })) },
  ];
}

/** Stored over changed bytes, by grid. */
function amplifications({ scale, databases }: DataSets, grids: readonly GodwitTool[], stored: Stored): CaseRow[] {
  const changed = scale.updatesPerDay * pageBytes * (databases.length - 1);
  return grids.flatMap(({ name }) => {
    const bytes = stored.get(name);
    if (!bytes) return [];
    const what = `database, stored over changed bytes, ${name === "godwit" ? "godwit 64K" : name}`;
    return [{ what, unit: "×", ours: [(bytes.last - bytes.first) / changed], others: [] }];
  });
}
