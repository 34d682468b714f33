/**
 * What the server costs while nothing happens: one host with 1,000 running VMs of libvirt's test driver, watched for a
 * minute that holds one reconcile and two looks at the networks.
 *
 *   npm run bench -- server-idle [--seconds N]
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startLibvirtd, testDriverXml } from "../packages/libvirt/test/private-libvirtd.ts";
import { Godwit, startServer } from "../scripts/godwit-process.ts";

const many = 1000;
const bars = { cores: 0.01, mebibytes: 250 };
/** Linux tells process times in these, whatever the kernel's own tick. */
const ticksPerSecond = 100;

/** Seconds that a process and all its threads have had a CPU. */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The name in parentheses may contain spaces; utime and stime are the 12th and 13th fields after it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

async function mebibytes(pid: number, field: "VmRSS" | "VmHWM"): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / 1024;
}

function say(what: string, value: number, bar: number, unit: string): void {
  process.stdout.write(`${what}: ${value.toFixed(value < 10 ? 2 : 0)} ${unit}, bar ${bar} ${unit}: ${value <= bar ? "held" : "MISSED"}\n`);
}

export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { seconds: { type: "string", default: "60" } } });
  const seconds = Number(values.seconds);
  await using stack = new AsyncDisposableStack();
  const daemon = stack.use(await startLibvirtd());
  const stateDir = await mkdtemp(join(tmpdir(), "godwit-idle-"));
  stack.defer(() => rm(stateDir, { recursive: true, force: true }));
  const server = stack.use(await startServer({ stateDir }));
  const godwit = new Godwit({ socket: server.socket });
  const began = performance.now();
  await godwit.run(["host", "add", "big", `test+unix://${daemon.file("node.xml", testDriverXml(many))}?socket=${daemon.socket}`]);
  while ((await godwit.json<unknown[]>(["vm", "list"])).length < many) await sleep(100);
  process.stdout.write(`${many} VMs are known after ${((performance.now() - began) / 1000).toFixed(1)} s\n`);
  // What follows a connection is not idling: facts are read once more after 5 s.
  await sleep(15_000);
  const before = await cpuSeconds(server.pid);
  const from = performance.now();
  await sleep(seconds * 1000);
  const used = (await cpuSeconds(server.pid)) - before;
  const elapsed = (performance.now() - from) / 1000;
  say(`CPU over ${elapsed.toFixed(0)} s`, (used / elapsed) * 100, bars.cores * 100, "% of a core");
  say("resident memory", await mebibytes(server.pid, "VmRSS"), bars.mebibytes, "MiB");
  process.stdout.write(`at most, since the start: ${(await mebibytes(server.pid, "VmHWM")).toFixed(0)} MiB\n`);
}
