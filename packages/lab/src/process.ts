import { spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { anySignal, raceAbort, withDeadline } from "@godwit/core";
import { LabError } from "./error.ts";

/** The environment of everything the lab runs: nothing of the caller's, so that runs are alike. */
export const cleanEnv: NodeJS.ProcessEnv = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LANG: "C.UTF-8",
};

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /** Fed to the command's standard input, which is empty otherwise. */
  readonly input?: string | Uint8Array | undefined;
  /** Default 60 s. */
  readonly timeoutMs?: number | undefined;
  /** False: a command that fails resolves too, with its `code`. Default true. */
  readonly check?: boolean | undefined;
  readonly cwd?: string | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
}

export interface RunResult {
  /** The exit status, or 128 plus the number of the signal that ended it is not told: -1. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a command to its end and collects what it printed. It is killed (SIGKILL) on abort and on
 * timeout. Rejects with a `LabError`: `failed` with the command's own words, `timeout`, or `missing`
 * when there is no such program.
 */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  const name = argv
    .slice(argv.lastIndexOf("--") + 1) // without the words that lead into a namespace
    .slice(0, 12)
    .join(" ");
  const timedOut = (): Error => new LabError("timeout", `'${name}' did not end within ${timeoutMs} ms`);
  const result = await withDeadline(timeoutMs, timedOut, options.signal, (signal) => collect(argv, options, signal));
  if (result.code !== 0 && options.check !== false) {
    const words = (result.stderr.trim() || result.stdout.trim()).split("\n").slice(-4).join("; ");
    throw new LabError("failed", `'${name}' failed (exit ${result.code}): ${words}`, { code: result.code });
  }
  return result;
}

function collect(argv: readonly string[], options: RunOptions, signal: AbortSignal): Promise<RunResult> {
  signal.throwIfAborted();
  const [command = "", ...args] = argv;
  const child = spawn(command, args, { env: options.env ?? cleanEnv, cwd: options.cwd ?? "/", stdio: ["pipe", "pipe", "pipe"] });
  const { promise, resolve, reject } = Promise.withResolvers<RunResult>();
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  const onAbort = (): void => {
    child.kill("SIGKILL");
    // Whoever inherited the pipes may live on: do not wait for them.
    child.stdout.destroy();
    child.stderr.destroy();
    reject(signal.reason as Error);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  child.stdin.on("error", () => undefined); // it may end without reading its input
  child.stdin.end(options.input ?? "");
  child.on("error", (cause: NodeJS.ErrnoException) => {
    const missing = cause.code === "ENOENT";
    reject(new LabError(missing ? "missing" : "failed", `cannot run '${command}'`, {}, { cause }));
  });
  child.on("close", (code) => {
    resolve({ code: code ?? -1, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
  });
  return promise.finally(() => signal.removeEventListener("abort", onAbort));
}

/** True as soon as the stream says `wanted` as a line, false when it ends without; destroys it either way. */
export async function saysLine(stream: Readable, wanted: string, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    if (text.split("\n").slice(0, -1).includes(wanted)) resolve(true);
  });
  stream.on("close", () => resolve(false));
  try {
    return await raceAbort(promise, signal);
  } finally {
    stream.destroy();
  }
}

/** Resolves as soon as `probe` gives a value; asks again every `everyMs` (default 20). */
export async function until<T>(
  what: string,
  probe: (signal: AbortSignal) => Promise<T | undefined> | T | undefined,
  options: { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number; readonly everyMs?: number } = {},
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? 30_000;
  const timedOut = (): Error => new LabError("timeout", `${what}: not within ${timeoutMs} ms`);
  return withDeadline(timeoutMs, timedOut, options.signal, async (signal) => {
    for (;;) {
      signal.throwIfAborted();
      const value = await probe(signal);
      if (value !== undefined) return value;
      await pause(options.everyMs ?? 20, anySignal(signal));
    }
  });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}
