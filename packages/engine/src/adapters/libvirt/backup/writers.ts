import { type Clock, describeError } from "@godwit/core";
import type { WriterReport } from "../../../ports/backup.ts";
import { type Agent, askAgent } from "./agent.ts";

/** Where Godwit's hook in the guest says what came of its scripts (cli, guest-hook.ts). Not on a disk: those are frozen. */
const STATUS_FILE = "/run/godwit-fsfreeze";
const ASK_SECONDS = 2;
const LIST_MS = 20_000;
const lookMs = 250;

export interface WritersOptions extends Agent {
  readonly clock: Clock;
}

/**
 * Looks before a freeze at what the guest can say of its own programs; the function that it gives is called after the
 * thaw, and says whether they were well during that very freeze. Neither rejects but on abort: what cannot be asked is
 * `unknown`.
 */
export async function watchWriters(options: WritersOptions, signal: AbortSignal): Promise<() => Promise<WriterReport>> {
  try {
    if ((await systemOf(options, signal)) === "mswindows") return () => reportOf(() => vssWriters(options, signal), signal);
    const before = await readStatus(options, signal);
    return () => reportOf(async () => judgeHooks(before, await readStatus(options, signal)), signal);
  } catch (error) {
    signal.throwIfAborted();
    const text = unasked(error);
    return () => Promise.resolve({ outcome: "unknown", text });
  }
}

async function reportOf(ask: () => Promise<WriterReport>, signal: AbortSignal): Promise<WriterReport> {
  try {
    return await ask();
  } catch (error) {
    signal.throwIfAborted();
    return { outcome: "unknown", text: unasked(error) };
  }
}

function unasked(error: unknown): string {
  return `whether the guest's programs were ready could not be asked: ${describeError(error)}`;
}

async function systemOf(options: WritersOptions, signal: AbortSignal): Promise<string> {
  const answer = await askAgent(options, { execute: "guest-get-osinfo" }, { timeoutSeconds: ASK_SECONDS, signal });
  const { id } = fieldsOf(answer);
  return typeof id === "string" ? id : "";
}

/** What a hook's scripts said at the newest freeze. Exit codes; 124 is one that took too long. */
export interface HookStatus {
  /** Freezes since the guest booted: one more than before is ours alone. */
  readonly freezes: number;
  readonly frozen: readonly { readonly name: string; readonly code: number }[];
  readonly thawed: readonly { readonly name: string; readonly code: number }[];
}

async function readStatus(options: WritersOptions, signal: AbortSignal): Promise<HookStatus | undefined> {
  const ask = (execute: string, args: Readonly<Record<string, string | number>>): ReturnType<typeof askAgent> =>
    askAgent(options, { execute, arguments: args }, { timeoutSeconds: ASK_SECONDS, signal });
  let handle: unknown;
  try {
    handle = await ask("guest-file-open", { path: STATUS_FILE, mode: "r" });
  } catch (error) {
    if (/no such file/i.test(describeError(error))) return undefined;
    throw error;
  }
  if (typeof handle !== "number") return undefined;
  try {
    const { "buf-b64": content } = fieldsOf(await ask("guest-file-read", { handle, count: 65_536 }));
    return parseStatus(Buffer.from(typeof content === "string" ? content : "", "base64").toString("utf8"));
  } finally {
    await ask("guest-file-close", { handle });
  }
}

function fieldsOf(answer: unknown): Readonly<Record<string, unknown>> {
  return answer !== null && typeof answer === "object" ? (answer as Readonly<Record<string, unknown>>) : {};
}

/** Undefined for anything but a whole status of version 1. */
export function parseStatus(text: string): HookStatus | undefined {
  const lines = text.split("\n");
  const freezes = /^freezes (\d{1,15})$/.exec(lines[1] ?? "")?.[1];
  if (lines[0] !== "godwit-fsfreeze 1" || freezes === undefined) return undefined;
  const of = (verb: string): { name: string; code: number }[] =>
    lines.flatMap((line) => {
      const match = /^(freeze|thaw) (\d{1,3}) (.+)$/.exec(line);
      return match?.[1] === verb ? [{ name: match[3]!, code: Number(match[2]) }] : [];
    });
  return { freezes: Number(freezes), frozen: of("freeze"), thawed: of("thaw") };
}

/** What two looks at the status, before the freeze and after the thaw, prove. */
export function judgeHooks(before: HookStatus | undefined, after: HookStatus | undefined): WriterReport {
  if (!after) return { outcome: "unknown", text: "no hook of Godwit's ran in the guest ('godwit guest-hook' prints it)" };
  const expected = (before?.freezes ?? 0) + 1;
  if (after.freezes < expected)
    return { outcome: "unknown", text: "Godwit's hook did not run at this freeze: is the agent started with --fsfreeze-hook?" };
  if (after.freezes > expected)
    return { outcome: "unknown", text: "somebody else froze the guest meanwhile: what its hook said may be of another moment" };
  if (after.frozen.length === 0)
    return { outcome: "unknown", text: "the guest's hook has no script to run: nothing but its file systems was made ready" };
  const failed = after.frozen.filter(({ code }) => code !== 0);
  if (failed.length > 0) return { outcome: "failed", text: `in the guest, ${failed.map(wordsOf).join(", ")} at the freeze` };
  const names = after.frozen.map(({ name }) => name).join(", ");
  const late = after.thawed.filter(({ code }) => code !== 0);
  const warning = late.length > 0 ? `; look after it: ${late.map(wordsOf).join(", ")} at the thaw` : "";
  return { outcome: "well", text: `the guest's own hooks made it ready: ${names}${warning}` };
}

function wordsOf({ name, code }: HookStatus["frozen"][number]): string {
  return code === 124 ? `${name} took too long` : `${name} failed (exit code ${code})`;
}

/**
 * The agent for Windows freezes as a VSS requestor, but does not look whether the writers were well (qemu-ga 9.2,
 * requester.cpp); what became of each one Windows itself tells afterwards.
 */
async function vssWriters(options: WritersOptions, signal: AbortSignal): Promise<WriterReport> {
  const ask = (execute: string, args: Parameters<typeof askAgent>[1]["arguments"] & {}): ReturnType<typeof askAgent> =>
    askAgent(options, { execute, arguments: args }, { timeoutSeconds: ASK_SECONDS, signal });
  const command = { path: "vssadmin.exe", arg: ["list", "writers"], "capture-output": true };
  const { pid } = fieldsOf(await ask("guest-exec", command));
  if (typeof pid !== "number") return { outcome: "unknown", text: "the guest did not list its VSS writers" };
  const { clock } = options;
  for (const until = clock.monotonic() + LIST_MS; clock.monotonic() < until; await clock.sleep(lookMs, { signal })) {
    const { exited, "out-data": output } = fieldsOf(await ask("guest-exec-status", { pid }));
    if (exited === true) return judgeWriters(Buffer.from(typeof output === "string" ? output : "", "base64").toString("latin1"));
  }
  return { outcome: "unknown", text: "the guest did not list its VSS writers in time" };
}

/** `vssadmin` speaks the guest's language; the states' numbers (VSS_WRITER_STATE) are the same in all of them, and fail from 6 on. */
export function judgeWriters(listed: string): WriterReport {
  const states = [...listed.matchAll(/\[(\d{1,2})\]/g)].map((match) => Number(match[1]));
  if (states.length === 0) return { outcome: "unknown", text: "the guest listed no VSS writers" };
  const failed = states.filter((state) => state === 0 || state >= 6).length;
  if (failed > 0)
    return { outcome: "failed", text: `${failed} of the guest's ${states.length} VSS writers failed ('vssadmin list writers' names them)` };
  return { outcome: "well", text: `the guest's ${states.length} VSS writers made it ready` };
}
