import type { Job } from "@godwit/api";
import type { LabHost } from "@godwit/lab";
import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import type { Godwit } from "../../scripts/godwit-process.ts";
import { cpuUse, sampleCpu } from "../cpu-use.ts";

/** What is brought back, and where to. */
export interface Restored {
  readonly godwit: Godwit;
  readonly host: LabHost;
  readonly pointId: string;
  /** Folder of the host that virtnbdbackup wrote to. */
  readonly folder: string;
}

async function watched(what: string, run: () => Promise<string>): Promise<number> {
  const before = await sampleCpu();
  const said = await run();
  const after = await sampleCpu();
  process.stdout.write(`${what}: ${said}\n  ${cpuUse(before, after, cpus().length)}\n`);
  return after.atMs - before.atMs;
}

/** One disk by `godwit recover disk`: whole command; says where the job's time went. Milliseconds. */
export async function restoreOurs({ godwit, host, pointId }: Restored, way: string): Promise<number> {
  let path = "";
  const ms = await watched(`${way} restore`, async () => {
    const began = Date.now();
    const wanted = ["recover", "disk", pointId, "vdb", "--to", host.name, "--storage", "shared"];
    const { createdAt, startedAt, endedAt, steps, result } = await godwit.json<Job>(wanted);
    path = (result as { disks: { path: string }[] }).disks[0]!.path;
    const since = (time: string | undefined): string => `${time === undefined ? "?" : Date.parse(time) - began}`;
    const told = steps.map((step) => `${step.name} ${since(step.startedAt)}–${since(step.endedAt)}`);
    return `asked at ${since(createdAt)}, begun ${since(startedAt)}, ${told.join(", ")}, ended ${since(endedAt)} ms`;
  });
  await host.exec(["rm", "-f", path]);
  return ms;
}

/** Several at once; what the server's memory came to at most since it started, in MiB. */
export async function restoreMany({ godwit, host, pointId }: Restored, { count, pid }: { count: number; pid: number }): Promise<number> {
  const one = async (): Promise<string> => {
    const { result } = await godwit.json<Job>(["recover", "disk", pointId, "vdb", "--to", host.name, "--storage", "shared"]);
    return (result as { disks: { path: string }[] }).disks[0]!.path;
  };
  const paths = await Promise.all(Array.from({ length: count }, one));
  await host.exec(["rm", "-f", ...paths]);
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmHWM:\s*(\d+)/.exec(status)?.[1]) / 1024;
}

/** The same by `virtnbdrestore`. */
export async function restoreTheirs({ host, folder }: Restored): Promise<number> {
  const ms = await watched("virtnbdrestore", async () => {
    await host.exec(["virtnbdrestore", "-n", "-d", "vdb", "-i", folder, "-o", `${folder}-restored`], { timeoutMs: 120_000 });
    return "done";
  });
  await host.exec(["rm", "-rf", `${folder}-restored`]);
  return ms;
}
