import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { BlockSource, Extent } from "@godwit/core";
import { FileImage, openStore, type Secret, Vault } from "@godwit/vault";
import { type DataSets, warm } from "./data.ts";
import type { CaseRow } from "./table.ts";
import { GodwitTool, makePlaces } from "./tools.ts";

const { signal } = new AbortController();
const secret: Secret = { kind: "keyfile", bytes: Buffer.alloc(32, 9) };
/** The most that ext4 takes for one file, less a chunk. */
const hugeBytes = 2 ** 44 - (64 << 10);

/** Shows a disk as the first part of a larger one that is empty but for it. */
function enlarged(source: BlockSource, size: number): BlockSource {
  return {
    size,
    read: (offset, into, options) => source.read(offset, into, options),
    async *extents(options) {
      yield* source.extents(options);
      yield { offset: source.size, length: size - source.size, kind: "zero" };
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Day 2 with a list of changes: the work after start-up, on disks of two sizes; and as a whole command. */
export async function benchChanges(sets: DataSets, rounds: number, say: (text: string) => void): Promise<CaseRow[]> {
  const changed = JSON.parse(await readFile(sets.changes, "utf8")) as Extent[];
  const times = new Map<number, number[]>([
    [sets.scale.imageBytes, []],
    [hugeBytes, []],
  ]);
  const whole: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    for (const [size, measured] of times) {
      say(`changes, round ${round}, a disk of ${size} bytes`);
      measured.push(await putChanges(sets, size, changed));
    }
    whole.push(await wholeCommand(sets));
  }
  const [normal, huge] = [...times.values()] as [number[], number[]];
  const bytes = changed.reduce((sum, { length }) => sum + length, 0);
  const what = `day 2 with a list of ${Math.round(bytes / 2 ** 20)} MiB of changes`;
  return [
    { what: `${what}, work after start-up`, unit: "s", ours: normal, others: [], limit: 0.6 },
    {
      what: "the same on a sparse disk of 16 TiB",
      unit: "s",
      ours: huge,
      others: [{ name: "the small disk", values: normal, atLeast: 1 / 1.2 }],
    },
    { what: `${what}, whole command`, unit: "s", ours: whole, others: [] },
  ];
}

async function putChanges(sets: DataSets, size: number, changed: readonly Extent[]): Promise<number> {
  const location = join(sets.folder, "work", "changes-vault");
  await rm(location, { recursive: true, force: true });
  await using store = await openStore(location, { signal, create: true });
  const made = await Vault.init(store, { signal, secret, label: "bench" });
  await using today = await FileImage.open(sets.guest);
  await using tomorrow = await FileImage.open(sets.nextDay);
  const base = await made.put({ name: "disk", disks: [{ name: "disk0", source: enlarged(today, size) }] }, { signal });
  const vault = await Vault.open(store, secret, { signal });
  const disk = { name: "disk0", source: enlarged(tomorrow, size), changed };
  const began = performance.now();
  await vault.put({ name: "disk", base, disks: [disk] }, { signal });
  const seconds = (performance.now() - began) / 1000;
  await rm(location, { recursive: true });
  return seconds;
}

async function wholeCommand(sets: DataSets): Promise<number> {
  const tool = new GodwitTool(await makePlaces(join(sets.folder, "work")));
  await tool.init();
  await tool.put(sets.guest);
  const { points } = JSON.parse((await tool.vault("list", "-o", "json")).stdout) as { points: { id: string }[] };
  const ran = await tool.vault("put", "--name", "disk", sets.nextDay, "--base", points[0]!.id, "--changed", sets.changes);
  return ran.seconds;
}

/** Mostly empty and random disks: what a put and a restore cost where there is nothing to gain, or all. */
export async function benchShapes(sets: DataSets): Promise<CaseRow[]> {
  const tool = new GodwitTool(await makePlaces(join(sets.folder, "work")));
  const rows: CaseRow[] = [];
  for (const [what, path] of [
    ["random data", sets.random],
    ["64 GiB, 16 MiB of them written", sets.mostlyEmpty],
  ] as const) {
    if (path === sets.random) await warm(path);
    await tool.init();
    const put = await tool.put(path);
    rows.push({ what: `first put, ${what}`, unit: "s", ours: [put.seconds], others: [] });
  }
  return rows;
}
