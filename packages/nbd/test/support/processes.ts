import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const execute = promisify(execFile);

/** A directory and the processes that live in it; all gone with it. */
export class Workshop implements AsyncDisposable {
  readonly directory: string;
  readonly #children = new Map<string | number, ChildProcess>();
  #count = 0;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async open(): Promise<Workshop> {
    return new Workshop(await mkdtemp(join(tmpdir(), "godwit-nbd-")));
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  socket(): string {
    this.#count += 1;
    return this.path(`s${this.#count}`);
  }

  /** Runs a command to its end; rejects with what it said when it fails. */
  async run(command: string, ...args: readonly string[]): Promise<string> {
    const { stdout } = await execute(command, [...args], { timeout: 60_000, maxBuffer: 8 << 20 });
    return stdout;
  }

  /** Starts a server and waits until something accepts connections on `socket`. */
  async serve(socket: string | number, command: string, ...args: readonly string[]): Promise<void> {
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
    this.#children.set(socket, child);
    let said = "";
    child.stderr.on("data", (text: Buffer) => {
      said += text.toString();
    });
    for (const deadline = Date.now() + 60_000; ; await sleep(10)) {
      if (child.exitCode !== null) throw new Error(`${command} ended: ${said}`);
      if (await accepts(socket)) return;
      if (Date.now() > deadline) throw new Error(`${command} does not listen on ${socket}: ${said}`);
    }
  }

  /** qemu-nbd on a Unix socket; the URI of its default export. */
  async qemuNbd(image: string, ...args: readonly string[]): Promise<string> {
    const socket = this.socket();
    // The probe of `serve` is a client as well: -e leaves room, -t survives it.
    await this.serve(socket, "qemu-nbd", "-t", "-e", "8", "-k", socket, ...args, image);
    return `nbd+unix:///?socket=${socket}`;
  }

  async nbdkit(...args: readonly string[]): Promise<string> {
    const socket = this.socket();
    await this.serve(socket, "nbdkit", "-f", "-U", socket, ...args);
    return `nbd+unix:///?socket=${socket}`;
  }

  /** Kills the server of a URI that `qemuNbd` or `nbdkit` gave. */
  async kill(uri: string): Promise<void> {
    await end(this.#children.get(uri.slice(uri.indexOf("socket=") + 7))!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#children.values()].map(end));
    await rm(this.directory, { recursive: true, force: true });
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

function accepts(where: string | number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = typeof where === "string" ? connect(where) : connect(where, "127.0.0.1");
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
