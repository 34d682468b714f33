/**
 * The same guest moved back and forth by `godwit vm migrate` and by `virsh migrate`, in turn, over the same
 * network: whole commands by the wall clock, and the pause as the destination's libvirt measured it.
 *
 *   npm run bench -- migration [--rounds N]
 */
import type { Job, MigrationResult } from "@godwit/api";
import { type Lab, type LabGuest, type LabHost, startLab } from "@godwit/lab";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { Godwit, startServer } from "../scripts/godwit-process.ts";
import { printRows } from "./report.ts";

const exec = promisify(execFile);

interface Timed {
  readonly wallMs: number;
  readonly pauseMs: number;
  readonly moveMs?: number;
}

/** libvirt's own ssh transport knows no `known_hosts=`: a command in ssh's place gives it the lab's files. */
async function virshUri(lab: Lab, host: LabHost): Promise<string> {
  const { searchParams, username, hostname } = new URL(lab.uri(host));
  const command = join(lab.dir, "bench-ssh");
  const files = `-i ${searchParams.get("keyfile")} -o UserKnownHostsFile=${searchParams.get("known_hosts")}`;
  await writeFile(command, `#!/bin/sh\nexec ssh ${files} "$@"\n`, { mode: 0o755 });
  return `qemu+ssh://${username}@${hostname}/system?command=${encodeURIComponent(command)}`;
}

async function byVirsh(lab: Lab, guest: LabGuest, from: LabHost, to: LabHost): Promise<Timed> {
  const args = [
    "-c",
    await virshUri(lab, from),
    "migrate",
    guest.name,
    await virshUri(lab, to),
    "--live",
    "--persistent",
    "--undefinesource",
    "--unsafe",
    "--migrateuri",
    `tcp://${to.addresses.migration}`,
  ];
  const began = performance.now();
  await exec("virsh", args);
  const wallMs = performance.now() - began;
  const { stdout } = await to.virsh(["domjobinfo", guest.name, "--completed", "--rawstats"]);
  const pause = /\bdowntime\W+(\d+)/.exec(stdout)?.[1];
  if (pause === undefined) throw new Error(`virsh told no downtime of its migration: ${stdout}`);
  return { wallMs, pauseMs: Number(pause) };
}

async function byGodwit(godwit: Godwit, guest: LabGuest, to: LabHost): Promise<Timed> {
  const began = performance.now();
  const job = await godwit.json<Job>(["vm", "migrate", guest.name, "--to", to.name]);
  const wallMs = performance.now() - began;
  const result = job.result as MigrationResult;
  return { wallMs, pauseMs: result.pauseMs ?? Number.NaN, moveMs: result.totalMs };
}

export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { rounds: { type: "string", default: "7" } } });
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await startLab({ hosts: 2 }));
  const [alpha, bravo] = [lab.host("alpha"), lab.host("bravo")];
  const guest = await lab.createGuest({ name: "bench", host: alpha, memoryMiB: 256 });
  await guest.start(alpha);
  await guest.waitForAgent();
  const server = stack.use(await startServer({ stateDir: join(lab.dir, "godwit") }));
  const godwit = new Godwit({ socket: server.socket });
  for (const host of lab.hosts) await godwit.run(["host", "add", host.name, lab.uri(host)]);
  await godwit.run(["network", "probe"]);
  const networks = await godwit.json<{ id: string; subnets: string[] }[]>(["network", "list"]);
  await godwit.run([
    "live-migration",
    "set",
    "--order",
    networks.find((one) => one.subnets.includes(lab.network("migration").ipv4))?.id ?? "",
  ]);
  const ours: Timed[] = [];
  const theirs: Timed[] = [];
  await byGodwit(godwit, guest, bravo); // once each to warm up
  await byVirsh(lab, guest, bravo, alpha);
  for (let round = 0; round < Number(values.rounds); round += 1) {
    // Who goes which way changes with every round, so that neither host favours one of them.
    const forth = round % 2 === 0;
    if (forth) ours.push(await byGodwit(godwit, guest, bravo));
    else theirs.push(await byVirsh(lab, guest, alpha, bravo));
    if (forth) theirs.push(await byVirsh(lab, guest, bravo, alpha));
    else {
      await seen(godwit, guest, "bravo");
      ours.push(await byGodwit(godwit, guest, alpha));
    }
    await seen(godwit, guest, "alpha");
  }
  const of = (timed: readonly Timed[], key: "wallMs" | "pauseMs"): number[] => timed.map((one) => one[key]);
  printRows(
    [
      { what: "whole command", ours: of(ours, "wallMs"), theirs: of(theirs, "wallMs"), unit: "ms", bar: 1.05 },
      { what: "pause", ours: of(ours, "pauseMs"), theirs: of(theirs, "pauseMs"), unit: "ms", bar: 1 },
    ],
    ["godwit", "virsh"],
  );
  process.stdout.write(
    `the job itself, from its first phase to the proof: ${ours.map((one) => Math.round(one.moveMs ?? 0)).join(", ")} ms\n`,
  );
  process.stdout.write(
    "what binds: starting the destination's QEMU and copying memory on the CPU; both tools wait for the same libvirt calls\n",
  );
}

/** virsh moved it behind the server's back: wait until the server has seen that. */
async function seen(godwit: Godwit, guest: LabGuest, host: string): Promise<void> {
  for (let look = 0; look < 200; look += 1) {
    const vm = await godwit.json<{ host: string; state: string }>(["vm", "show", guest.name]);
    if (vm.host === host && vm.state === "running") return;
  }
  throw new Error(`the server did not see ${guest.name} on ${host}`);
}
