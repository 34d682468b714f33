import { readFile, readdir, readlink, stat } from "node:fs/promises";
import { uplinkInterface } from "../../src/addresses.ts";
import { exists } from "../../src/debian.ts";
import type { Lab } from "../../src/lab.ts";
import { run } from "../../src/process.ts";

/** USER_HZ, as on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** What a lab is made of, so that it can be looked for when the lab should be gone. */
export interface Footprint {
  readonly dir: string;
  readonly uplink: string;
  /** By pid, each with what tells it from a later process of that number. */
  readonly processes: ReadonlyMap<number, string>;
  /** The identities of its processes' network, mount and pid namespaces. */
  readonly namespaces: ReadonlySet<string>;
  /** Clock ticks since boot: the kernel gives the number of a namespace that is gone to a lab that comes up after it. */
  readonly seenAt: number;
  /** The same by the files' clock, milliseconds. */
  readonly seenAtMs: number;
}

export async function footprintOf(lab: Pick<Lab, "dir" | "index">): Promise<Footprint> {
  const keeper = Number(await readFile(`${lab.dir}/keeper.pid`, "utf8"));
  const processes = await descendants(keeper);
  const own = new Set(await namespacesOf("self"));
  const all = await Promise.all([...processes.keys()].map((pid) => namespacesOf(pid)));
  const namespaces = new Set(all.flat().filter((id) => !own.has(id)));
  const seenAt = Number((await readFile("/proc/uptime", "utf8")).split(" ")[0]) * ticksPerSecond;
  return { dir: lab.dir, uplink: uplinkInterface(lab.index), processes, namespaces, seenAt, seenAtMs: Date.now() };
}

/** Whatever is still there of it, in words. */
export async function tracesOf({ dir, uplink, processes, namespaces, seenAt, seenAtMs }: Footprint): Promise<string[]> {
  const traces: string[] = [];
  for (const [pid, identity] of processes) if ((await identityOf(pid)) === identity) traces.push(`process ${pid}`);
  for (const pid of await allPids()) {
    if (Number((await identityOf(pid)) ?? Infinity) > seenAt) continue;
    for (const id of await namespacesOf(pid)) if (namespaces.has(id)) traces.push(`${id} of process ${pid}`);
  }
  const named: string[] = [];
  if ((await readFile("/proc/self/mountinfo", "utf8")).includes(`${dir}/`)) named.push(`a mount below ${dir}`);
  if ((await run(["ip", "link", "show", uplink], { check: false })).code === 0) named.push(`link ${uplink}`);
  for (const path of [dir, `${dir}.lock`]) if (await exists(path)) named.push(path);
  // The number of a lab that is gone is free for the next one, which then has all of that by the same names.
  const taken = await stat(`${dir}.lock`).catch(() => undefined);
  return taken !== undefined && taken.ctimeMs > seenAtMs ? traces : [...traces, ...named];
}

async function allPids(): Promise<number[]> {
  return (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
}

/** Start time and parent of a process, from `/proc/PID/stat` (proc(5)); undefined when it ended. */
async function statOf(pid: number): Promise<{ readonly parent: number; readonly started: string } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const [state = "Z", parent = "", ...rest] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return state === "Z" || state === "X" ? undefined : { parent: Number(parent), started: rest[17] ?? "" };
}

async function identityOf(pid: number): Promise<string | undefined> {
  return (await statOf(pid))?.started;
}

async function descendants(ancestor: number): Promise<Map<number, string>> {
  const stats = await Promise.all((await allPids()).map(async (pid) => ({ pid, stat: await statOf(pid) })));
  const found = new Map<number, string>();
  const add = (pid: number): void => {
    const stat = stats.find((one) => one.pid === pid)?.stat;
    if (!stat || found.has(pid)) return;
    found.set(pid, stat.started);
    for (const one of stats) if (one.stat?.parent === pid) add(one.pid);
  };
  add(ancestor);
  return found;
}

async function namespacesOf(pid: number | "self"): Promise<string[]> {
  const links = ["net", "mnt", "pid"].map((kind) => readlink(`/proc/${pid}/ns/${kind}`).catch(() => ""));
  return (await Promise.all(links)).filter(Boolean);
}
