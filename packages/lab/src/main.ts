/** `npm run lab`: see cli/usage.ts. Exit status: 0 done, 1 failed, 2 usage, 3 not found, 130 cancelled. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { describeError, isCancelled } from "@godwit/core";
import { injectFault } from "./cli/faults.ts";
import { statusOf, statusText } from "./cli/status.ts";
import { UsageError } from "./cli/usage-error.ts";
import { usage } from "./cli/usage.ts";
import { LabError } from "./error.ts";
import { labIndexes, stopLab, sweep } from "./keeper.ts";
import type { Lab } from "./lab.ts";
import { cleanEnv } from "./process.ts";
import { listLabs, openLab, startDetachedLab } from "./start.ts";

interface Flags {
  readonly name: string | undefined;
  readonly json: boolean;
  readonly all: boolean;
  readonly hosts: string | undefined;
  readonly guests: string | undefined;
  readonly mbit: string | undefined;
  readonly unplug: boolean;
  readonly signal: AbortSignal;
}

const commands: Readonly<Record<string, (flags: Flags, args: readonly string[]) => Promise<number>>> = {
  async up(flags) {
    const count = (text: string | undefined, otherwise: number): number => (text === undefined ? otherwise : Number(text));
    const started = performance.now();
    const name = flags.name ?? "default";
    const lab = await startDetachedLab({ name, hosts: count(flags.hosts, 3), guests: count(flags.guests, 0), signal: flags.signal });
    await printStatus([lab], flags);
    if (!flags.json)
      print(`up in ${((performance.now() - started) / 1000).toFixed(1)} s; take it down with: npm run lab -- down --name ${name}`);
    return 0;
  },
  async down(flags) {
    const swept = await sweep(flags.signal);
    const labs = flags.all ? await labIndexes() : swept.length > 0 && flags.name === undefined ? [] : [(await chosen(flags)).index];
    for (const index of labs) await stopLab(index, flags.signal);
    return 0;
  },
  async status(flags) {
    const labs = await listLabs();
    if (labs.length === 0 && flags.name === undefined && !flags.json) print("no lab is up; start one with: npm run lab -- up");
    else await printStatus(flags.name === undefined ? await Promise.all(labs.map((lab) => openLab(lab.id))) : [await chosen(flags)], flags);
    return 0;
  },
  async exec(flags, [host = "", ...argv]) {
    if (argv.length === 0) throw new UsageError("exec needs a host and a command: exec alpha -- virsh list");
    const [command = "", ...args] = [...(await chosen(flags)).host(host).enter(), ...argv];
    const env = { ...cleanEnv, TERM: process.env["TERM"] };
    const child = spawn(command, args, { stdio: "inherit", cwd: "/", env });
    const [code] = (await once(child, "exit")) as [number | null];
    return code ?? 1;
  },
  async verify(flags, [name = ""]) {
    const guest = (await (await chosen(flags)).guests()).find((candidate) => candidate.name === name);
    if (!guest) throw new LabError("not-found", `no guest '${name}' in this lab`);
    const report = await guest.verifyLive({ signal: flags.signal });
    print(flags.json ? JSON.stringify(report, undefined, 2) : report.summary);
    return report.ok ? 0 : 1;
  },
  async fault(flags, args) {
    await injectFault(await chosen(flags), args, flags);
    return 0;
  },
};

/** The lab that is meant: the named one, or the only one. */
async function chosen(flags: Flags): Promise<Lab> {
  if (flags.name !== undefined) return openLab(flags.name);
  const labs = await listLabs();
  if (labs.length === 1) return openLab(labs[0]!.id);
  if (labs.length === 0) throw new LabError("not-found", "no lab is up: start one with npm run lab -- up");
  throw new UsageError(`several labs are up, say which with --name: ${labs.map((lab) => lab.id).join(", ")}`);
}

async function printStatus(labs: readonly Lab[], flags: Flags): Promise<void> {
  const all = await Promise.all(labs.map(statusOf));
  print(flags.json ? JSON.stringify(all, undefined, 2) : all.map(statusText).join("\n"));
}

function print(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

function parse(argv: readonly string[], signal: AbortSignal): { command: string; args: string[]; flags: Flags } {
  const text = { type: "string" } as const;
  const yes = { type: "boolean", default: false } as const;
  const options = {
    name: text,
    output: { ...text, short: "o" },
    hosts: text,
    guests: text,
    mbit: text,
    all: yes,
    unplug: yes,
    help: { ...yes, short: "h" },
  };
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true });
    const { output, help, ...flags } = values;
    if (output !== undefined && output !== "json") throw new UsageError(`-o ${output}: only json`);
    const [command = "help", ...args] = positionals;
    return {
      command: help ? "help" : command,
      args,
      flags: { ...flags, name: flags.name, hosts: flags.hosts, guests: flags.guests, mbit: flags.mbit, json: output === "json", signal },
    };
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError((error as Error).message, { cause: error });
  }
}

async function main(argv: readonly string[], signal: AbortSignal): Promise<number> {
  const { command, args, flags } = parse(argv, signal);
  if (command === "help") {
    print(usage);
    return 0;
  }
  const action = commands[command];
  if (!action) throw new UsageError(`no command '${command}', one of: ${Object.keys(commands).join(", ")}`);
  if (process.getuid?.() !== 0) throw new LabError("not-root", "the lab makes network namespaces and mounts: run it as root");
  return action(flags, args);
}

function statusOfError(error: unknown): number {
  if (isCancelled(error)) return 130;
  if (error instanceof UsageError) return 2;
  return error instanceof LabError && error.kind === "not-found" ? 3 : 1;
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
try {
  process.exitCode = await main(process.argv.slice(2), interrupted.signal);
} catch (error) {
  process.stderr.write(`lab: ${error instanceof UsageError ? error.message : describeError(error)}\n`);
  process.exitCode = statusOfError(error);
}
