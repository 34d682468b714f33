import { guestHook } from "@godwit/cli";
import type { LabGuest, LabHost } from "@godwit/lab";
import { eventually } from "./site.ts";

const agent = "qemu-ga --daemonize --method virtio-serial --path /dev/virtio-ports/org.qemu.guest_agent.0 --statedir /run";

/** Puts a file into the guest, executable. */
async function put(guest: LabGuest, path: string, text: string): Promise<void> {
  const content = Buffer.from(text).toString("base64");
  await guest.exec(["/bin/sh", "-c", `mkdir -p "\${1%/*}"; echo "$2" | base64 -d >"$1"; chmod 755 "$1"`, "sh", path, content]);
}

/** What an admin does in a guest: installs a hook, and starts the agent with it unless it runs with one. */
export async function installHook(guest: LabGuest, host: LabHost, hook: string = guestHook): Promise<void> {
  await put(guest, "/etc/qemu/fsfreeze-hook", hook);
  if (await runsHooks(guest, host)) return;
  const restart = `sleep 1; kill $(pidof qemu-ga); sleep 0.3; exec ${agent} --fsfreeze-hook=/etc/qemu/fsfreeze-hook`;
  // Nobody asks how it ended: the agent that could tell is gone by then.
  await guest.agent("guest-exec", { path: "/bin/sh", arg: ["-c", `setsid sh -c '${restart}' </dev/null >/dev/null 2>&1 &`] }, { host });
  // Until it ends, the old one answers.
  await eventually("the agent was started with its hook", () => runsHooks(guest, host).catch(() => false), 60_000);
}

/** Whether the agent that answers now was started with a hook: it is the parent of what it runs. */
async function runsHooks(guest: LabGuest, host: LabHost): Promise<boolean> {
  const command = ["/bin/sh", "-c", 'tr "\\0" " " </proc/$PPID/cmdline'];
  return (await guest.exec(command, { host, timeoutMs: 5_000 })).includes("--fsfreeze-hook");
}

export const hookScript = (guest: LabGuest, name: string, body: string): Promise<void> =>
  put(guest, `/etc/qemu/fsfreeze-hook.d/${name}`, `#!/bin/sh\n${body}\n`);
