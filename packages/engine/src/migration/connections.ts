import type { HostShell } from "../ports/shell.ts";

/**
 * `$1` is the VM, `$2` an address: ends the TCP connections of its QEMU to that address, and of nobody else (libvirt
 * keeps its pid; iproute2, ss -K).
 */
const script = `
read -r pid <"/run/libvirt/qemu/$1.pid" || exit 3
ss -H -t -n -p dst "$2" | grep -F "pid=$pid," | while read -r state received sent here there rest; do
  ss -K -t -n src "\${here%:*}" sport = ":\${here##*:}" dst "$2" >/dev/null; echo "$here $there"
done`;

/** Ends what a VM's process sends to an address that does not answer any more; gives how many connections that were. */
export async function cutConnections(shell: HostShell, vm: string, address: string, signal: AbortSignal): Promise<number> {
  const { stdout } = await shell.run(["/bin/bash", "-c", script, "bash", vm, address], { signal });
  return stdout.split("\n").filter((line) => line !== "").length;
}
