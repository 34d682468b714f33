/**
 * What Godwit says before a live migration, beside what came of it: guests that do little, that rewrite memory
 * all the time, and that take their disks along, moved back and forth. The first move of all is made without any
 * history and is shown apart; a guest's first one knows the path, but not the guest.
 *
 *   npm run bench -- forecast [--rounds N]
 */
import type { Job, MigrationResult } from "@godwit/api";
import { type Lab, startLab } from "@godwit/lab";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Godwit, startServer } from "../scripts/godwit-process.ts";
import { median } from "./report.ts";

interface Workload {
  readonly name: string;
  readonly what: string;
  readonly options: Omit<Parameters<Lab["createGuest"]>[0], "name" | "host">;
  readonly flags: readonly string[];
  /** Random data on its second disk. */
  readonly dataMiB?: number;
}

const workloads: readonly Workload[] = [
  { name: "idle", what: "192 MiB, writes records", options: {}, flags: [] },
  { name: "wide", what: "384 MiB, 120 MiB of it filled", options: { memoryMiB: 384, dirtyMemory: { MiBPerSecond: 4 } }, flags: [] },
  { name: "busy", what: "320 MiB, rewrites 30 MiB/s", options: { memoryMiB: 320, dirtyMemory: { MiBPerSecond: 30 } }, flags: [] },
  {
    name: "disks",
    what: "192 MiB with 48 MiB of disks",
    options: { disk: "local", extraDisks: [{ sizeMiB: 64, format: "raw", storage: "local" }] },
    flags: ["--storage", "local"],
    dataMiB: 48,
  },
];

interface Compared {
  readonly name: string;
  readonly saidMs: number;
  readonly tookMs: number;
  readonly saidPauseMs: number;
  readonly tookPauseMs: number;
}

const error = ({ saidMs, tookMs }: Compared): number => Math.abs(saidMs - tookMs) / tookMs;
const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;

export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { rounds: { type: "string", default: "3" } } });
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await startLab({ hosts: 2 }));
  await startGuests(lab);
  const server = stack.use(await startServer({ stateDir: join(lab.dir, "godwit") }));
  const godwit = new Godwit({ socket: server.socket });
  for (const host of lab.hosts) await godwit.run(["host", "add", host.name, lab.uri(host)]);
  await godwit.run(["network", "probe"]);
  const networks = await godwit.json<{ id: string; subnets: string[] }[]>(["network", "list"]);
  const migration = networks.find((one) => one.subnets.includes(lab.network("migration").ipv4));
  await godwit.run(["live-migration", "set", "--order", migration?.id ?? ""]);
  const all: Compared[] = [];
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const { name, flags } of workloads) {
      const one = await compare(godwit, name, round, flags);
      process.stdout.write(`${name}: said ${one.saidMs} ms, took ${one.tookMs} ms\n`);
      all.push(one);
    }
  }
  report(all);
}

async function startGuests(lab: Lab): Promise<void> {
  const host = lab.host("alpha");
  for (const { name, options, dataMiB } of workloads) {
    const guest = await lab.createGuest({ name, host, ...options });
    const path = guest.record.disks[1]?.path;
    if (dataMiB !== undefined && path !== undefined)
      await host.exec(["dd", "if=/dev/urandom", `of=${path}`, "bs=1M", `count=${dataMiB}`, "conv=notrunc", "status=none"]);
    await guest.start(host);
    await guest.waitForAgent({ host });
  }
}

async function compare(godwit: Godwit, name: string, round: number, flags: readonly string[]): Promise<Compared> {
  const to = round % 2 === 0 ? "bravo" : "alpha";
  // Naming a pause makes the job measure the guest first, as a cautious admin would.
  const job = await godwit.json<Job>(["vm", "migrate", name, "--to", to, "--max-pause", "2000", ...flags]);
  const { forecast, totalMs, pauseMs } = job.result as MigrationResult;
  return {
    name,
    saidMs: forecast?.totalMs ?? Number.NaN,
    tookMs: totalMs,
    saidPauseMs: forecast?.pauseMs ?? Number.NaN,
    tookPauseMs: pauseMs ?? Number.NaN,
  };
}

function report(all: readonly Compared[]): void {
  for (const { name, what } of workloads) {
    const own = all.filter((one) => one.name === name);
    const moves = own.map(({ saidMs, tookMs }) => `${saidMs.toFixed(0)}/${tookMs.toFixed(0)}`).join(", ");
    const pauses = own.map(({ saidPauseMs, tookPauseMs }) => `${saidPauseMs.toFixed(0)}/${tookPauseMs.toFixed(0)}`).join(", ");
    process.stdout.write(`${name} (${what}): said/took ${moves} ms, pause ${pauses} ms, median error ${percent(median(own.map(error)))}\n`);
  }
  const [first, ...informed] = all;
  const whole = median(informed.map(error));
  process.stdout.write(
    `forecast of time: median error ${percent(whole)} over ${informed.length} moves with history, bar 25 %: ${whole < 0.25 ? "held" : "MISSED"}; the first move of all, without history: ${first ? percent(error(first)) : "none"}\n`,
  );
}
