import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { root } from "./run.ts";

const command = join(root, "godwit");

/** A server of its own process, as a user starts one. */
export interface ServerProcess extends AsyncDisposable {
  readonly socket: string;
  readonly stateDir: string;
  readonly logFile: string;
  readonly pid: number;
  readonly exited: Promise<void>;
  /** As a power cut would end it. */
  kill(): Promise<void>;
  /** As `systemctl stop` would. */
  stop(): Promise<void>;
}

/** Starts a server and resolves when it answers. It keeps its state in `stateDir`, so that the next one takes over. */
export async function startServer(options: {
  readonly stateDir: string;
  readonly signal?: AbortSignal;
  readonly args?: readonly string[];
}): Promise<ServerProcess> {
  const { stateDir, signal, args = [] } = options;
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const socket = join(stateDir, "godwit.sock");
  const logFile = join(stateDir, "server.log");
  const log = await open(logFile, "a");
  const child = spawn(command, ["server", "--socket", socket, "--state-dir", stateDir, ...args], { stdio: ["ignore", log.fd, log.fd] });
  await log.close();
  const exited = once(child, "exit").then(() => undefined);
  const end = async (how: "SIGKILL" | "SIGTERM"): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(how);
    await exited;
  };
  try {
    await answers(child, socket, logFile, signal);
  } catch (error) {
    await end("SIGKILL");
    throw error;
  }
  return {
    socket,
    stateDir,
    logFile,
    pid: child.pid ?? 0,
    exited,
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
    [Symbol.asyncDispose]: () => end("SIGTERM"),
  };
}

async function answers(child: ChildProcess, socket: string, logFile: string, signal: AbortSignal | undefined): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (performance.now() < deadline) {
    signal?.throwIfAborted();
    if (child.exitCode !== null)
      throw new Error(`the server ended at once: ${(await readFile(logFile, "utf8")).trim().split("\n").at(-1) ?? ""}`);
    if (await connects(socket)) return;
    await sleep(50);
  }
  throw new Error(`the server does not answer at ${socket} after 20 s; its log is ${logFile}`);
}

function connects(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.on("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.on("error", () => resolve(false));
  });
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The `godwit` command, run as a user would. */
export class Godwit {
  readonly socket: string;
  readonly #say: (text: string) => void;
  readonly #signal: AbortSignal | undefined;

  constructor(options: { readonly socket: string; readonly say?: (text: string) => void; readonly signal?: AbortSignal | undefined }) {
    this.socket = options.socket;
    this.#say = options.say ?? (() => undefined);
    this.#signal = options.signal;
  }

  /** Runs it whatever the outcome. */
  async try(args: readonly string[], input = ""): Promise<Ran> {
    const child = spawn(command, args, {
      env: { ...process.env, GODWIT_SERVER: this.socket },
      ...(this.#signal && { signal: this.#signal }),
    });
    const output = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
    child.stdin.on("error", () => undefined).end(input);
    const [code] = (await once(child, "close")) as [number | null];
    return { code: code ?? 1, ...output };
  }

  /** Runs it, shows the line and what it printed, and throws unless it succeeds. */
  async run(args: readonly string[], options: { readonly quiet?: boolean } = {}): Promise<string> {
    const line = `godwit ${args.map((arg) => (/^[\w,./:@=-]+$/.test(arg) ? arg : `'${arg}'`)).join(" ")}`;
    this.#say(`$ ${line}`);
    const { code, stdout, stderr } = await this.try(args);
    if (code !== 0) throw new Error(`'${line}' failed with exit code ${code}: ${stderr.trim()}`);
    if (options.quiet !== true) this.#say(stdout.trimEnd().replace(/^/gm, "  "));
    return stdout;
  }

  async json<T>(args: readonly string[]): Promise<T> {
    const { code, stdout, stderr } = await this.try([...args, "-o", "json"]);
    if (code !== 0) throw new Error(`godwit ${args.join(" ")}: ${stderr.trim()}`);
    return JSON.parse(stdout) as T;
  }

  /** Asks the API itself, for who looks again and again: a command for each look would keep a core busy. */
  async get<T>(path: string): Promise<T> {
    const asking = request({ socketPath: this.socket, path: `/api/v1${path}`, ...(this.#signal && { signal: this.#signal }) }).end();
    const [answer] = (await once(asking, "response")) as [IncomingMessage];
    const body = await json(answer);
    if (answer.statusCode !== 200) throw new Error(`GET ${path}: ${answer.statusCode} ${JSON.stringify(body)}`);
    return body as T;
  }
}
