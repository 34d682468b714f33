import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const nobody = 65_534;
const runFile = promisify(execFile);

/** A libvirtd that nobody else has: unprivileged, with folders and a socket of its own, QEMU and test driver. */
export class PrivateLibvirtd implements AsyncDisposable {
  readonly directory: string;
  #child: ChildProcess | undefined;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async start(): Promise<PrivateLibvirtd> {
    const daemon = new PrivateLibvirtd(await mkdtemp(join(tmpdir(), "godwit-inv-")));
    for (const name of ["", "run", "run/libvirt", "home"]) {
      await mkdir(join(daemon.directory, name), { recursive: true });
      if (process.getuid?.() === 0) await chown(join(daemon.directory, name), nobody, nobody);
    }
    await daemon.boot();
    return daemon;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** The URI of one of its drivers: `qemu:///session`, `test:///default`. */
  uri(driver: string): string {
    return `${driver}?socket=${encodeURIComponent(this.#socket)}`;
  }

  /** Starts it, also after a kill; resolves when it listens. */
  async boot(): Promise<void> {
    const env = { PATH: process.env["PATH"], HOME: join(this.directory, "home"), XDG_RUNTIME_DIR: join(this.directory, "run") };
    const identity = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};
    await rm(this.#socket, { force: true });
    this.#child = spawn("/usr/sbin/libvirtd", [], { env, stdio: "ignore", cwd: this.directory, ...identity });
    // The socket's file is there before anybody listens at it.
    for (const until = performance.now() + 20_000; !(await answers(this.#socket)); await sleep(10)) {
      if (performance.now() > until) throw new Error(`no libvirtd listens at ${this.#socket} after 20 s`);
    }
  }

  async kill(): Promise<void> {
    const ended = once(this.#child!, "exit");
    this.#child!.kill("SIGKILL");
    await ended;
  }

  async virsh(driver: string, ...args: string[]): Promise<string> {
    return (await runFile("virsh", ["--quiet", "--connect", this.uri(driver), ...args])).stdout;
  }

  /** A file that the daemon may read; its path. */
  async file(name: string, text: string): Promise<string> {
    const path = join(this.directory, name);
    await writeFile(path, text, { mode: 0o644 });
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child?.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, "exit");
      this.#child.kill("SIGTERM");
      await ended;
    }
    await rm(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }

  get #socket(): string {
    return join(this.directory, "run/libvirt/libvirt-sock");
  }
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => resolve(true)).once("error", () => resolve(false));
    connection.once("connect", () => connection.destroy());
  });
}
