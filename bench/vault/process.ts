import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";

const lookEvery = 10;
const ticksPerSecond = 100;

export interface Ran {
  readonly seconds: number;
  /** Of the process itself, as last seen before it ended. */
  readonly cpuSeconds: number;
  readonly peakMiB: number;
  readonly stdout: string;
}

/** Looks at a process in /proc while it runs, as nobody tells afterwards what it took. */
class Watch {
  peakMiB = 0;
  cpuSeconds = 0;
  readonly #pid: number;
  readonly #timer: NodeJS.Timeout;

  constructor(child: ChildProcess) {
    this.#pid = child.pid!;
    this.#timer = setInterval(() => this.#look(), lookEvery);
  }

  #look(): void {
    try {
      const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${this.#pid}/status`, "latin1"))?.[1];
      if (peak) this.peakMiB = Math.max(this.peakMiB, Number(peak) / 1024);
      const fields = readFileSync(`/proc/${this.#pid}/stat`, "latin1").split(") ")[1]!.split(" ");
      this.cpuSeconds = (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
    } catch {
      // It has just ended.
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** Runs a command to its end. Throws with what it said unless it ends well. */
export async function run(command: string, args: readonly string[], options: { env?: NodeJS.ProcessEnv; cwd?: string } = {}): Promise<Ran> {
  const began = performance.now();
  const child = spawn(command, args, { ...options, env: { ...process.env, ...options.env }, stdio: ["ignore", "pipe", "pipe"] });
  const watch = new Watch(child);
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  try {
    const [code] = (await once(child, "close")) as [number | null];
    if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}: ${stderr.slice(-2000)}`);
  } finally {
    watch.stop();
  }
  return { seconds: (performance.now() - began) / 1000, cpuSeconds: watch.cpuSeconds, peakMiB: watch.peakMiB, stdout };
}

/** Starts a server process, waits until `ready` finds what it looks for in its output, and ends it with SIGINT. */
export async function serve(
  command: string,
  args: readonly string[],
  ready: (output: string) => boolean | Promise<boolean>,
  env: NodeJS.ProcessEnv = {},
): Promise<AsyncDisposable> {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  while (!(await ready(output))) {
    if (child.exitCode !== null) throw new Error(`${command} ended before it served`);
    await new Promise((resolve) => setTimeout(resolve, lookEvery));
  }
  return {
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, "exit");
      if (child.exitCode === null && child.kill("SIGINT")) await ended;
    },
  };
}
