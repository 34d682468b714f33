import type { HostShell } from "../../../ports/shell.ts";
import { guestProcess } from "./guest-process.ts";

/**
 * `$1` is the VM's name, `$2` the address that it moves to. Ends the TCP connections of its process to there, as a reset
 * from the other end would.
 */
const breakConnections = `${guestProcess}
guest_process "$1" || exit 0
command -v ss >/dev/null || exit 3
ss -Htnp dst "$2" | while read -r state received sent from rest; do
  case "$rest" in *"pid=$pid,"*) ss -K dst "$2" sport = ":\${from##*:}" >/dev/null;; esac
done`;

/**
 * A hypervisor that was told to give a copy of disks up waits for the other end to take what is on its way. Over a link
 * that is dead TCP waits for a quarter of an hour; this ends the connections at once. The guest runs on untouched.
 */
export async function breakOff(
  shell: HostShell,
  { name, address }: { readonly name: string; readonly address: string },
  signal: AbortSignal,
): Promise<void> {
  const peer = address.includes(":") ? `[${address}]` : address;
  await shell.run(["/bin/sh", "-c", breakConnections, "sh", name, peer], { signal });
}
