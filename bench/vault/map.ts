import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { connectNbd } from "@godwit/nbd";
import { type DataSets, numbers } from "./data.ts";
import { run, serve } from "./process.ts";
import type { CaseRow } from "./table.ts";
import { GodwitTool, godwitCommand, makePlaces } from "./tools.ts";

const blockBytes = 4096;
const inFlight = 16;

interface MapFigures {
  readonly copy: number[];
  /** The same once more. */
  readonly again: number[];
  readonly cold: number[];
  readonly warm: number[];
}

/** A mapped point and qemu-nbd on the raw file, read through by nbdcopy and at random. */
export async function benchMap(sets: DataSets, rounds: number, say: (text: string) => void): Promise<CaseRow[]> {
  const places = await makePlaces(join(sets.folder, "work"));
  const tool = new GodwitTool(places);
  await tool.init();
  await tool.put(sets.guest);
  const socket = join(places.folder, "map.sock");
  const uri = `nbd+unix:///?socket=${socket}`;
  const ours: MapFigures = { copy: [], again: [], cold: [], warm: [] };
  const theirs: MapFigures = { copy: [], again: [], cold: [], warm: [] };
  for (let round = 1; round <= rounds; round += 1) {
    say(`map, round ${round}`);
    await rm(socket, { force: true });
    {
      await using _ = await serve(godwitCommand, ["vault", "map", "disk", "--socket", socket], (out) => out.includes("nbd+unix"), tool.env);
      await read(uri, sets, ours);
    }
    await rm(socket, { force: true });
    {
      const args = ["-f", "raw", "-r", "-t", "-e", "16", "-k", socket, sets.guest];
      await using _ = await serve("qemu-nbd", args, () => existsSync(socket));
      await read(uri, sets, theirs);
    }
  }
  return [
    readThrough("after some reads at random", ours.copy, theirs.copy),
    readThrough("once more", ours.again, theirs.again),
    iops("just started", ours.cold, theirs.cold),
    iops("warm", ours.warm, theirs.warm),
  ];
}

function readThrough(what: string, ours: readonly number[], theirs: readonly number[]): CaseRow {
  return { what: `map, read through by nbdcopy, ${what}`, unit: "s", ours, others: [{ name: "qemu-nbd", values: theirs, atLeast: 0.5 }] };
}

function iops(what: string, ours: readonly number[], theirs: readonly number[]): CaseRow {
  return { what: `map, 4 KiB at random, ${inFlight} at once, ${what}`, unit: "IOPS", ours, others: [{ name: "qemu-nbd", values: theirs }] };
}

async function read(uri: string, sets: DataSets, figures: MapFigures): Promise<void> {
  figures.cold.push(await randomReads(uri, sets, "cold"));
  figures.copy.push((await run("nbdcopy", [uri, "null:"])).seconds);
  figures.again.push((await run("nbdcopy", [uri, "null:"])).seconds);
  await randomReads(uri, sets, "warm", 256);
  figures.warm.push(await randomReads(uri, sets, "warm", 256));
}

/** Reads per second; within the first `mib` of the disk where given. */
async function randomReads(uri: string, { scale }: DataSets, seed: string, mib?: number): Promise<number> {
  await using client = await connectNbd(uri);
  const places = numbers((mib === undefined ? scale.imageBytes : mib * 2 ** 20) / blockBytes, seed);
  const total = 4000;
  let next = 0;
  const began = performance.now();
  const reader = async (): Promise<void> => {
    const block = new Uint8Array(blockBytes);
    while (next < total) {
      next += 1;
      await client.read(places.next().value * blockBytes, block);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, reader));
  return total / ((performance.now() - began) / 1000);
}
