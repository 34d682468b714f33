import { spawn } from "node:child_process";
import { resolve } from "node:path";

export const root: string = resolve(import.meta.dirname, "..");

export interface RunOptions {
  /** Default: ours. */
  readonly env?: NodeJS.ProcessEnv;
  /** Kills the command when it fires. */
  readonly signal?: AbortSignal;
}

/** Runs a command with our terminal, and resolves to its exit code (1 when a signal ended it). */
export function run(command: string, args: readonly string[], { env = process.env, signal }: RunOptions = {}): Promise<number> {
  return new Promise((done, fail) => {
    const child = spawn(command, args, { cwd: root, stdio: "inherit", env });
    signal?.addEventListener("abort", () => child.kill("SIGKILL"), { once: true });
    // Who ends us means what we run, too. (Ctrl-C reaches it by itself.)
    const hangUp = (ended: NodeJS.Signals): void => void child.kill(ended);
    for (const name of ["SIGTERM", "SIGHUP"] as const) process.on(name, hangUp);
    child.on("error", fail);
    child.on("exit", (code) => {
      for (const name of ["SIGTERM", "SIGHUP"] as const) process.off(name, hangUp);
      done(code ?? 1);
    });
  });
}

/** Runs steps in order and stops at the first that fails. */
export async function runAll(steps: readonly (readonly [name: string, command: string, ...args: string[]])[]): Promise<void> {
  for (const [name, command, ...args] of steps) {
    const started = performance.now();
    const code = await run(command, args);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stdout.write(`── ${name}: ${code === 0 ? "ok" : `failed (exit ${code})`} in ${seconds} s\n`);
    if (code !== 0) process.exit(code);
  }
}

export const node: readonly string[] = [process.execPath, "--conditions=godwit-source", "--disable-warning=ExperimentalWarning"];
export const bin = (name: string): string => resolve(root, "node_modules/.bin", name);

/** The static checks, in the order that fails fastest. */
export const checks: readonly (readonly [string, string, ...string[]])[] = [
  ["layers", process.execPath, "scripts/check-layers.ts"],
  ["types", bin("tsc"), "-p", "tsconfig.json"],
  ["lint", bin("oxlint"), "--deny-warnings", "packages", "scripts", "bench", "test"],
  ["format", bin("oxfmt"), "--check", "packages", "scripts", "bench", "test"],
];
