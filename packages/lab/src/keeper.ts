import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { freeLabIndexes, uplinkInterface } from "./addresses.ts";
import { exists } from "./debian.ts";
import { LabError } from "./error.ts";
import { labDir, labPaths, labsRoot, script } from "./paths.ts";
import { cleanEnv, run, saysLine, until } from "./process.ts";

/** How long a lab lives: as long as the process that started it, or until somebody takes it down. */
export type Lifetime = "owned" | "detached";

/** A lab number of our own, with an empty folder and the namespaces that hold whatever is put there. */
export interface Claim {
  readonly index: number;
  readonly dir: string;
  /** Ends the lab and resolves when nothing of it is left. */
  readonly release: () => Promise<void>;
}

/** Exit statuses of keeper.sh that mean: try another number. */
const takenStatus = new Set([75, 76]);

/** Claims the lowest free lab number. Rejects with `exists` when all are taken. */
export async function claimLab(lifetime: Lifetime, signal: AbortSignal): Promise<Claim> {
  await sweep(signal);
  for (const index of freeLabIndexes(await addressesInUse(signal))) {
    const claim = await tryClaim(index, lifetime, signal);
    if (claim) return claim;
  }
  throw new LabError("exists", "no lab number is free: take a lab down first (npm run lab -- down --all)");
}

/** Removes what labs left whose processes were killed; resolves to their numbers. */
export async function sweep(signal?: AbortSignal): Promise<number[]> {
  if (!(await exists(labsRoot))) return [];
  const { stdout } = await run(["bash", script("sweep.sh"), labsRoot], { signal });
  return stdout.split("\n").filter(Boolean).map(Number);
}

/** The numbers of all labs that have a folder, dead ones included. */
export async function labIndexes(): Promise<number[]> {
  const names = await readdir(labsRoot).catch(() => []);
  return names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

/** Whether a lab of that number lives: its folder alone may be what a killed one left. */
export async function isLabUp(index: number): Promise<boolean> {
  return (await keeperPid(labDir(index))) !== undefined;
}

/** Ends a lab that some other process started, and resolves when nothing of it is left. */
export async function stopLab(index: number, signal?: AbortSignal): Promise<void> {
  const dir = labDir(index);
  const pid = await keeperPid(dir);
  if (pid !== undefined) process.kill(pid, "SIGTERM");
  await until(
    `lab ${index} to end`,
    async () => {
      if (await exists(dir)) await sweep(signal);
      return (await exists(dir)) ? undefined : true;
    },
    { signal, timeoutMs: 20_000, everyMs: 50 },
  );
}

/** The pid of the process that keeps the lab of that folder; undefined: it is dead. */
async function keeperPid(dir: string): Promise<number | undefined> {
  const pid = Number(await readFile(labPaths(dir).keeperPid, "utf8").catch(() => ""));
  if (pid <= 0) return undefined;
  const argv = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  return argv[1] === script("keeper.sh") && argv[2] === dir ? pid : undefined;
}

async function tryClaim(index: number, lifetime: Lifetime, signal: AbortSignal): Promise<Claim | undefined> {
  signal.throwIfAborted();
  const dir = labDir(index);
  await mkdir(labsRoot, { recursive: true });
  const child = spawn("bash", [script("keeper.sh"), dir, uplinkInterface(index), lifetime], {
    detached: true, // no signal of our terminal reaches it
    cwd: "/",
    env: cleanEnv,
    stdio: [lifetime === "owned" ? "pipe" : "ignore", "pipe", "ignore"],
  });
  const ended = once(child, "exit") as Promise<[number | null]>;
  const release = async (): Promise<void> => {
    if (child.stdin) child.stdin.destroy();
    else child.kill("SIGTERM");
    child.ref();
    await ended;
  };
  try {
    if (await saysLine(child.stdout!, "ready", signal)) {
      letGo(child);
      return { index, dir, release };
    }
  } catch (error) {
    await release();
    throw error;
  }
  const [code] = await ended;
  if (code !== null && takenStatus.has(code)) return undefined;
  throw new LabError("failed", `the keeper of lab ${index} ended with exit status ${code}: are namespaces and tmpfs mounts allowed here?`);
}

/** A process that forgets its lab may still end; the lab ends with it. */
function letGo(child: ChildProcess): void {
  child.unref();
  (child.stdin as { unref?: () => void } | null)?.unref?.();
}

async function addressesInUse(signal: AbortSignal): Promise<string[]> {
  const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((entry) => entry.cidr ?? ""));
  const { stdout } = await run(["ip", "-4", "-oneline", "route", "show", "table", "all"], { signal });
  // 'broadcast 10.0.0.255 dev …', '10.0.0.0/24 via …'
  return [...own, ...stdout.split("\n").flatMap((line) => line.split(" ").slice(0, 2))];
}
