import { type Clock, describeError } from "@godwit/core";
import type { Connection, Domain } from "@godwit/libvirt";
import type { FreezeReport } from "../../../ports/backup.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { askAgent } from "./agent.ts";
import { watchWriters } from "./writers.ts";

/** Seconds after which the host's own timer thaws the guest, whatever became of us. */
export const THAW_AFTER_SECONDS = 8;
/** The agent freezes within this or not at all, as far as we are concerned. */
const FREEZE_SECONDS = 5;
const THAW_SECONDS = 4;

/**
 * `$1` moment, `$2` VM, `$3` libvirt URI, `$4` seconds. The timer is a process of its own session, so that neither
 * the end of this shell nor that of its connection ends it. It asks the agent until the agent has answered, for an hour:
 * the daemon may be away for a while. A VM that does not run any more needs no thaw.
 */
const arm = `
command -v virsh >/dev/null 2>&1 || { echo "the host has no virsh, which would end the freeze if Godwit died" >&2; exit 3; }
flag="/run/godwit-$1.thaw"; : >"$flag" || exit 4
setsid sh -c '
  n=0; while [ $n -lt $4 ]; do sleep 1; [ -e "$1" ] || exit 0; n=$((n + 1)); done
  : >"$1.fired"; n=0
  until virsh -q -c "$3" qemu-agent-command --timeout 2 "$2" "{\\"execute\\":\\"guest-fsfreeze-thaw\\"}" >/dev/null 2>&1; do
    case $(LC_ALL=C virsh -q -c "$3" domstate "$2" 2>&1) in "shut off"* | *"failed to get domain"*) break;; esac
    sleep 1; n=$((n + 1)); [ $n -lt 120 ] || sleep 9; [ $n -lt 500 ] || break
  done
  rm -f "$1" "$1.fired"' sh "$flag" "$2" "$3" "$4" </dev/null >/dev/null 2>&1 &`;

/** Says whether the timer has gone off. */
const disarm = `flag="/run/godwit-$1.thaw"; [ -e "$flag" ] && [ ! -e "$flag.fired" ] && echo waiting; rm -f "$flag"`;

export interface Freezing {
  readonly connection: Connection;
  readonly dom: Domain;
  readonly shell: HostShell;
  readonly clock: Clock;
  readonly vmId: string;
  readonly moment: string;
}

/**
 * Runs `body` while the guest's file systems are held still, if they can be: it runs in any case, and the report
 * says how it was. The guest is thawed before this settles; should that fail, or should we die, the timer on the host
 * does it.
 */
export async function whileFrozen<T>(
  freezing: Freezing,
  signal: AbortSignal,
  body: () => Promise<T>,
): Promise<{ readonly value: T; readonly freeze: FreezeReport }> {
  // The timer must not run out while an agent takes its time over these questions: nothing would end the freeze then.
  const writers = await watchWriters(freezing, signal);
  const refused = await armTimer(freezing, signal);
  if (refused !== undefined) return { value: await body(), freeze: report("refused", 0, 0, refused) };
  const { clock } = freezing;
  const began = clock.monotonic();
  let frozen: Answer;
  let value: T;
  try {
    frozen = await ask(freezing, "guest-fsfreeze-freeze", FREEZE_SECONDS, signal);
    signal.throwIfAborted();
    value = await body();
  } catch (error) {
    await thaw(freezing);
    throw error;
  }
  const thawed = await letGo(freezing);
  const elapsed = Math.round(clock.monotonic() - began);
  const freeze = verdict(frozen, thawed, elapsed);
  const [said] = await Promise.all([freeze.outcome === "held" ? writers() : undefined, standDown(freezing, thawed)]);
  return { value, freeze: said ? { ...freeze, writers: said } : freeze };
}

/** What the agent said: the number of file systems, or why there is no answer. */
type Answer = { readonly count: number } | { readonly failed: string };

function verdict(frozen: Answer, thawed: Answer, elapsed: number): FreezeReport {
  if ("failed" in frozen) return report("refused", 0, 0, `the guest's agent did not freeze: ${frozen.failed}`);
  if (frozen.count === 0) return report("refused", 0, 0, "the guest's agent says that it froze no file system");
  const { count } = frozen;
  if ("failed" in thawed) {
    return report("broken", elapsed, count, `the end of the freeze is not known: ${thawed.failed}; the host's timer ends it`);
  }
  if (thawed.count === 0) {
    const text = `the freeze was over before the moment was taken: ${elapsed} ms passed, and the host's timer ends it after ${THAW_AFTER_SECONDS} s`;
    return report("broken", elapsed, count, text);
  }
  return report("held", elapsed, count, `${count} file systems were held still by the guest's agent for ${elapsed} ms`);
}

function report(outcome: FreezeReport["outcome"], frozenMs: number, fileSystems: number, text: string): FreezeReport {
  return { outcome, frozenMs, fileSystems, text };
}

/** The reason when the guest must not be frozen because nothing would end it. */
export async function armTimer({ connection, shell, moment, vmId }: Freezing, signal: AbortSignal): Promise<string | undefined> {
  const uri = await connection.remote.connectGetUri({ signal });
  const { code, stderr } = await shell.run(["/bin/sh", "-c", arm, "sh", moment, vmId, uri, `${THAW_AFTER_SECONDS}`], { signal });
  return code === 0 ? undefined : `the guest was not frozen: ${stderr.trim() || "no timer could be started on the host"}`;
}

/**
 * Thaws, and stands the timer down. Never rejects, and no signal ends it: a cancelled capture must not leave the guest
 * frozen, nor must a freeze that we gave up waiting for and that happens after all. No error where nothing is frozen.
 */
export async function thaw(freezing: Freezing): Promise<void> {
  await standDown(freezing, await letGo(freezing));
}

function letGo(freezing: Freezing): Promise<Answer> {
  return ask(freezing, "guest-fsfreeze-thaw", THAW_SECONDS, undefined);
}

/** Of a guest whose agent has answered; else the timer goes on. */
async function standDown({ shell, moment }: Freezing, thawed: Answer): Promise<void> {
  if ("failed" in thawed) return;
  await shell.run(["/bin/sh", "-c", disarm, "sh", moment], { signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
}

async function ask(
  { connection, dom }: Freezing,
  execute: string,
  timeoutSeconds: number,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  try {
    const answer = await askAgent({ connection, dom }, { execute }, { timeoutSeconds, signal });
    return { count: typeof answer === "number" ? answer : 0 };
  } catch (error) {
    return { failed: describeError(error) };
  }
}
