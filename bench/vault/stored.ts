import { join } from "node:path";
import type { DataSets } from "./data.ts";
import type { CaseRow } from "./table.ts";
import { BorgTool, GodwitTool, makePlaces, ResticTool, type Tool } from "./tools.ts";

const mib = 2 ** 20;
const pageBytes = 8 << 10;

/** What is stored after the first put, and after seven days of updates to a database. */
export async function benchStored(sets: DataSets, say: (text: string) => void): Promise<CaseRow[]> {
  const places = await makePlaces(join(sets.folder, "work"));
  const grids = [undefined, "16K", "8K", "4K"].map((grid) => new GodwitTool(places, grid));
  const tools: readonly Tool[] = [...grids, new ResticTool(places), new BorgTool(places), new BorgTool(places, `fixed,${64 << 10}`)];
  const guest = await storedBy(tools, [sets.guest], say);
  const database = await storedBy(tools, sets.databases, say);
  return [
    rowOf("stored, first put of the guest", guest),
    rowOf("stored, database and seven days", database),
    ...amplifications(sets, grids, database),
  ];
}

type Stored = ReadonlyMap<string, { readonly first: number; readonly last: number }>;

async function storedBy(tools: readonly Tool[], images: readonly string[], say: (text: string) => void): Promise<Stored> {
  const stored = new Map<string, { first: number; last: number }>();
  for (const tool of tools) {
    say(`stored bytes: ${tool.name}`);
    await tool.init();
    let first = 0;
    for (const image of images) {
      await tool.put(image);
      if (first === 0) first = await tool.storedBytes();
    }
    stored.set(tool.name, { first, last: await tool.storedBytes() });
  }
  return stored;
}

function rowOf(what: string, stored: Stored): CaseRow {
  const others = [...stored].filter(([name]) => name !== "godwit");
  return {
    what,
    unit: "MiB",
    ours: [stored.get("godwit")!.last / mib],
    others: others.map(([name, { last }]) => ({ name, values: [last / mib], ...(name.startsWith("godwit") ? {} : { atLeast: 1 }) })),
  };
}

/** Stored over changed bytes, by grid. */
function amplifications({ scale, databases }: DataSets, grids: readonly GodwitTool[], stored: Stored): CaseRow[] {
  const changed = scale.updatesPerDay * pageBytes * (databases.length - 1);
  return grids.map(({ name }) => {
    const { first, last } = stored.get(name)!;
    return {
      what: `database, stored over changed bytes, ${name === "godwit" ? "godwit 64K" : name}`,
      unit: "×",
      ours: [(last - first) / changed],
      others: [],
    };
  });
}
