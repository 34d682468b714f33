import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A folder and the daemons that live in it; all gone with it, and the daemons also with this process. */
export class Daemons implements AsyncDisposable {
  readonly folder: string;
  readonly #children: ChildProcess[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async open(): Promise<Daemons> {
    return new Daemons(await mkdtemp(join(tmpdir(), "godwit-store-")));
  }

  path(...names: readonly string[]): string {
    return join(this.folder, ...names);
  }

  /** Starts a daemon and waits until it accepts connections on a port of the loopback. */
  async serve(port: number, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
    const child = spawn("setpriv", ["--pdeathsig", "KILL", command, ...args], {
      cwd: this.folder,
      env: { PATH: process.env["PATH"], HOME: this.folder, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#children.push(child);
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text: Buffer) => (said = (said + text.toString()).slice(-4000)));
    for (const deadline = Date.now() + 60_000; !(await accepts(port)); await sleep(50)) {
      if (child.exitCode !== null) throw new Error(`${command} ended: ${said}`);
      if (Date.now() > deadline) throw new Error(`${command} does not listen on ${port}: ${said}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#children.toReversed().map(end));
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** A TCP port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
