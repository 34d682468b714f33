import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { DataSets } from "./data.ts";
import { floorOfPut } from "./floor.ts";
import { type Ran, run } from "./process.ts";
import type { CaseRow, Measured } from "./table.ts";
import { BorgTool, GodwitTool, makePlaces, ResticTool, type Tool } from "./tools.ts";

const steps = ["first", "day 2", "unchanged", "restore"] as const;
type Step = (typeof steps)[number];

/** Results by tool and step. */
class Results {
  readonly #all = new Map<string, Ran[]>();

  add(tool: string, step: Step | "in place", ran: Ran): void {
    const key = `${tool}/${step}`;
    this.#all.set(key, [...(this.#all.get(key) ?? []), ran]);
  }

  seconds(tool: string, step: Step | "in place"): number[] {
    return (this.#all.get(`${tool}/${step}`) ?? []).map(({ seconds }) => seconds);
  }

  peaks(tool: string, step: Step | "in place"): number[] {
    return (this.#all.get(`${tool}/${step}`) ?? []).map(({ peakMiB }) => peakMiB);
  }
}

/** First, next day, unchanged and restore, of all tools in turn. */
export async function benchTools(
  sets: DataSets,
  { rounds, only }: { rounds: number; only: readonly string[] },
  say: (text: string) => void,
): Promise<CaseRow[]> {
  const places = await makePlaces(join(sets.folder, "work"));
  const godwit = new GodwitTool(places);
  const borgs = [new BorgTool(places), new BorgTool(places, `fixed,${1 << 20}`)];
  const all: readonly Tool[] = [godwit, new ResticTool(places), ...borgs];
  const tools = all.filter(({ name }) => only.length === 0 || only.includes(name));
  const results = new Results();
  const [floor, copies]: [number[], number[]] = [[], []];
  for (let round = 1; round <= rounds; round += 1) {
    floor.push(await floorOfPut(sets.guest));
    for (const tool of tools) {
      say(`round ${round} of ${rounds}: ${tool.name}`);
      await oneRound(tool, sets, results, say);
    }
    const target = join(places.folder, "copy.raw");
    await rm(target, { force: true });
    // With a flush at the end, as ours is durable when it returns.
    copies.push((await run("nbdcopy", ["--flush", "--", "[", "qemu-nbd", "-f", "raw", "-r", sets.nextDay, "]", target])).seconds);
    await rm(target, { force: true });
  }
  return rowsOf(results, { floor, copies, borgs: borgs.map(({ name }) => name) });
}

async function oneRound(tool: Tool, sets: DataSets, results: Results, say: (text: string) => void): Promise<void> {
  const target = join(sets.folder, "work", `restored-${tool.name.replaceAll(/\W/g, "-")}`);
  await tool.init();
  const took = (step: Step | "in place", ran: Ran): void => {
    results.add(tool.name, step, ran);
    say(`  ${step}: ${ran.seconds.toFixed(2)} s, CPU ${ran.cpuSeconds.toFixed(2)} s, ${Math.round(ran.peakMiB)} MiB`);
  };
  took("first", await tool.put(sets.guest));
  took("day 2", await tool.put(sets.nextDay));
  took("unchanged", await tool.put(sets.nextDay));
  took("restore", await tool.restore(target));
  if (tool instanceof GodwitTool) {
    await run("cmp", [sets.nextDay, target]);
    // From the next day back to the first: what differs is the 3 % of that day.
    const { points } = JSON.parse((await tool.vault("list", "-o", "json")).stdout) as { points: { id: string }[] };
    took("in place", await tool.vault("restore", points[0]!.id, target, "--in-place"));
    await run("cmp", [sets.guest, target]);
  }
  await rm(target, { recursive: true });
}

function rowsOf(results: Results, { floor, copies, borgs }: { floor: number[]; copies: number[]; borgs: readonly string[] }): CaseRow[] {
  const ours = (step: Step | "in place"): number[] => results.seconds("godwit", step);
  const against = (step: Step, restic: number, borg: number): Measured[] => [
    { name: "restic", values: results.seconds("restic", step), atLeast: restic },
    ...borgs.map((name) => ({ name, values: results.seconds(name, step), atLeast: borg })),
  ];
  const seconds = (what: string, step: Step | "in place", others: Measured[]): CaseRow => ({ what, unit: "s", ours: ours(step), others });
  return [
    seconds("first put", "first", [...against("first", 2.5, 1.6), { name: "the floor", values: floor, atLeast: 1 / 1.2 }]),
    seconds("day 2, no list of changes", "day 2", against("day 2", 3, 2.5)),
    seconds("unchanged, no list of changes", "unchanged", against("unchanged", 2, 2)),
    seconds("restore to a file", "restore", [
      { name: "restic", values: results.seconds("restic", "restore"), atLeast: 1.9 },
      ...borgs.map((name) => ({ name, values: results.seconds(name, "restore") })),
      { name: "nbdcopy --flush", values: copies, atLeast: 1 / 1.35 },
    ]),
    seconds("restore in place, 3 % differs", "in place", [{ name: "a full restore", values: ours("restore"), atLeast: 3 }]),
    { what: "peak memory, put", unit: "MiB", ours: results.peaks("godwit", "first"), others: peaksOf(results, borgs, "first"), limit: 220 },
    {
      what: "peak memory, restore",
      unit: "MiB",
      ours: results.peaks("godwit", "restore"),
      others: peaksOf(results, borgs, "restore"),
      limit: 300,
    },
  ];
}

function peaksOf(results: Results, borgs: readonly string[], step: Step): Measured[] {
  return ["restic", ...borgs].map((name) => ({ name, values: results.peaks(name, step) }));
}
