/**
 * A host with 8 guests emptied over the same network: by `godwit host drain`, by `virsh migrate` one after the
 * other, and by `virsh migrate` all at once. Whole commands by the wall clock; pauses as libvirt measured them;
 * how far the forecasts were off. Between the rounds everything goes back.
 *
 *   npm run bench -- drain [--rounds N] [--guests N] [--parallel N] [--timeline]
 */
import type { Job, MovesResult } from "@godwit/api";
import { type Lab, type LabGuest, type LabHost, startLab } from "@godwit/lab";
import { execFile } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { Godwit, startServer } from "../scripts/godwit-process.ts";
import { cpuUse, sampleCpu } from "./cpu-use.ts";
import { median, printRows } from "./report.ts";

const exec = promisify(execFile);

/** The pause that a guest may be given, milliseconds. */
const contractMs = 300;

interface Round {
  readonly wallMs: number;
  readonly pausesMs: readonly number[];
}

/** Past SSH, which virsh would set up for each command: what is compared is the moving. */
async function virsh(lab: Lab, guest: LabGuest, from: LabHost, to: LabHost): Promise<number> {
  const target = ["--migrateuri", `tcp://${to.addresses.migration}`];
  await exec("virsh", [
    "-c",
    lab.socketUri(from),
    "migrate",
    guest.name,
    lab.socketUri(to),
    "--live",
    "--persistent",
    "--undefinesource",
    "--unsafe",
    ...target,
  ]);
  const { stdout } = await to.virsh(["domjobinfo", guest.name, "--completed"], { check: false });
  return Number(/Total downtime:\s*(\d+)/i.exec(stdout)?.[1] ?? Number.NaN);
}

async function oneByOne(lab: Lab, guests: readonly LabGuest[], from: LabHost, to: readonly LabHost[]): Promise<Round> {
  const began = performance.now();
  const pausesMs: number[] = [];
  for (const [index, guest] of guests.entries()) pausesMs.push(await virsh(lab, guest, from, to[index % to.length]!));
  return { wallMs: performance.now() - began, pausesMs };
}

async function allAtOnce(lab: Lab, guests: readonly LabGuest[], from: LabHost, to: readonly LabHost[]): Promise<Round> {
  const began = performance.now();
  const pausesMs = await Promise.all(guests.map((guest, index) => virsh(lab, guest, from, to[index % to.length]!)));
  return { wallMs: performance.now() - began, pausesMs };
}

interface DrainRound extends Round {
  readonly result: MovesResult;
  /** The drain's own job, and those of its moves. */
  readonly jobs: readonly Job[];
  readonly cpu: string;
}

async function byGodwit(godwit: Godwit, from: LabHost): Promise<DrainRound> {
  const before = await sampleCpu();
  const began = performance.now();
  const job = await godwit.json<Job>(["host", "drain", from.name]);
  const wallMs = performance.now() - began;
  const cpu = cpuUse(before, await sampleCpu(), availableParallelism());
  const result = job.result as MovesResult;
  const ids = [job.id, ...result.moves.flatMap(({ jobId }) => jobId ?? [])];
  const jobs = await Promise.all(ids.map((id) => godwit.json<Job>(["job", "show", id])));
  return { wallMs, pausesMs: result.moves.map(({ pauseMs }) => pauseMs ?? Number.NaN), result, jobs, cpu };
}

/** What each job did when, milliseconds since the drain was asked for. */
function printTimeline({ result, jobs: [drain, ...moves], cpu }: DrainRound): void {
  process.stdout.write(`drain: ${cpu}\n`);
  const zero = Date.parse(drain?.createdAt ?? "");
  const at = (time: string | undefined): number => (time === undefined ? Number.NaN : Date.parse(time) - zero);
  for (const { id, title, createdAt, startedAt, endedAt, steps } of [...(drain ? [drain] : []), ...moves]) {
    const told = steps.map(({ name, startedAt: from, endedAt: to }) => `${name} ${at(from)}${to === from ? "" : `–${at(to)}`}`);
    const outcome = result.moves.find(({ jobId }) => jobId === id);
    if (outcome)
      told.push(`foretold ${outcome.predictedMs} took ${outcome.totalMs} waited ${outcome.waitedMs ?? 0} paused ${outcome.pauseMs}`);
    process.stdout.write(`${title}: asked ${at(createdAt)}, began ${at(startedAt)}, ${told.join(", ")}, ended ${at(endedAt)}\n`);
  }
}

/** After virsh moved guests behind the server's back: all of them home again, and seen there. */
async function home(lab: Lab, godwit: Godwit, guests: readonly LabGuest[], alpha: LabHost): Promise<void> {
  for (const guest of guests) {
    for (const host of lab.hosts) if (host !== alpha && (await guest.state(host)) === "running") await virsh(lab, guest, host, alpha);
  }
  await seenOn(godwit, guests, alpha);
}

async function seenOn(godwit: Godwit, guests: readonly LabGuest[], host: LabHost): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (performance.now() < deadline) {
    const vms = await godwit.json<{ name: string; host: string; state: string }[]>(["vm", "list"]);
    if (guests.every(({ name }) => vms.some((vm) => vm.name === name && vm.host === host.name && vm.state === "running"))) return;
  }
  throw new Error(`the server did not see all guests on ${host.name}`);
}

export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "3" },
      guests: { type: "string", default: "8" },
      // As many as virsh moves all at once; how many do is Godwit's choice.
      parallel: { type: "string", default: "8" },
      timeline: { type: "boolean", default: false },
    },
  });
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await startLab({ hosts: 3 }));
  const [alpha, ...others] = lab.hosts;
  if (!alpha) throw new Error("the lab has no host");
  const guests: LabGuest[] = [];
  for (let n = 0; n < Number(values.guests); n += 1) {
    guests.push(await lab.createGuest({ name: `vm${n}`, host: alpha, memoryMiB: 160, recordsPerSecond: 2 }));
  }
  for (const guest of guests) await guest.start(alpha);
  for (const guest of guests) await guest.waitForAgent({ timeoutMs: 180_000 });
  const server = stack.use(await startServer({ stateDir: join(lab.dir, "godwit") }));
  const godwit = new Godwit({ socket: server.socket });
  for (const host of lab.hosts) await godwit.run(["host", "add", host.name, lab.uri(host)]);
  await godwit.run(["network", "probe"]);
  const networks = await godwit.json<{ id: string; subnets: string[] }[]>(["network", "list"]);
  const order = networks.find(({ subnets }) => subnets.includes(lab.network("migration").ipv4))?.id ?? "";
  await godwit.run(["live-migration", "set", "--order", order, "--max-parallel", values.parallel]);
  await seenOn(godwit, guests, alpha);
  const drains: DrainRound[] = [];
  const sequential: Round[] = [];
  const together: Round[] = [];
  await oneByOne(lab, guests.slice(0, 2), alpha, others); // every host's first migration is slow
  await home(lab, godwit, guests, alpha);
  for (let round = 0; round < Number(values.rounds); round += 1) {
    const told = values.timeline ? tellCpu : quietly;
    const drain = await byGodwit(godwit, alpha);
    if (values.timeline) printTimeline(drain);
    drains.push(drain);
    await godwit.run(["host", "resume", "alpha", "--failback", "now"]);
    await seenOn(godwit, guests, alpha);
    sequential.push(await told("one by one", () => oneByOne(lab, guests, alpha, others)));
    await home(lab, godwit, guests, alpha);
    together.push(await told("all at once", () => allAtOnce(lab, guests, alpha, others)));
    await home(lab, godwit, guests, alpha);
  }
  report(drains, sequential, together);
}

const quietly = <T>(_what: string, body: () => Promise<T>): Promise<T> => body();

async function tellCpu<T>(what: string, body: () => Promise<T>): Promise<T> {
  const before = await sampleCpu();
  const result = await body();
  process.stdout.write(`${what}: ${cpuUse(before, await sampleCpu(), availableParallelism())}\n`);
  return result;
}

function report(drains: readonly DrainRound[], sequential: readonly Round[], together: readonly Round[]): void {
  const walls = (rounds: readonly Round[]): number[] => rounds.map(({ wallMs }) => wallMs);
  const longest = (rounds: readonly Round[]): number[] => rounds.map(({ pausesMs }) => Math.max(...pausesMs));
  printRows(
    [{ what: "emptying the host", ours: walls(drains), theirs: walls(sequential), unit: "ms", bar: 0.7 }],
    ["godwit", "virsh one by one"],
  );
  printRows(
    [{ what: "emptying the host", ours: walls(drains), theirs: walls(together), unit: "ms", bar: 1.5 }],
    ["godwit", "virsh all at once"],
  );
  printRows(
    [{ what: "longest pause of a guest", ours: longest(drains), theirs: longest(together), unit: "ms", bar: 1 }],
    ["godwit", "virsh all at once"],
  );
  const broken = longest(drains).filter((pause) => pause > contractMs).length;
  process.stdout.write(`rounds with a pause over the contract of ${contractMs} ms: ${broken} of ${drains.length}\n`);
  for (const [index, { result, wallMs }] of drains.entries()) {
    const errors = result.moves.flatMap(({ totalMs, predictedMs }) =>
      totalMs && predictedMs ? [Math.abs(predictedMs - totalMs) / totalMs] : [],
    );
    const whole =
      result.predictedMs === undefined
        ? ""
        : `, of the whole ${(((result.predictedMs - result.totalMs) / result.totalMs) * 100).toFixed(0)} %`;
    process.stdout.write(
      `round ${index + 1}: ${result.moves.length} moves in ${wallMs.toFixed(0)} ms; forecast off by ${(median(errors) * 100).toFixed(0)} % (median of moves)${whole}\n`,
    );
  }
}
