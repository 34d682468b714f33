import { readdirSync, readFileSync } from "node:fs";

/**
 * The pid, as this process sees it, of the init of a pid namespace that was started as
 * `bash SCRIPT ...ARGS`; undefined when it does not run. (Inside its namespace an init only knows that
 * it is 1.)
 */
export function findInit(script: string, args: readonly string[]): number | undefined {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => isInit(pid, script, args));
}

/** Whether `pid` still is that init. */
export function isInit(pid: number, script: string, args: readonly string[]): boolean {
  try {
    const argv = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
    const wanted = [script, ...args];
    if (argv.length < wanted.length + 1 || wanted.some((arg, at) => argv[at + 1] !== arg)) return false;
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const inner = /^NSpid:\s.*?(\d+)$/m.exec(status)?.[1];
    return inner === "1" && !/^State:\s+[ZX]/m.test(status);
  } catch {
    return false; // it ended while we looked
  }
}
