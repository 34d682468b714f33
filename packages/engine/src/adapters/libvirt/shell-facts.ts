import type { HostShell } from "../../ports/shell.ts";

/** The running kernel and the name of the system; whatever the host does not tell is left out. */
export async function readSystem(shell: HostShell, signal: AbortSignal): Promise<{ kernel?: string; os?: string }> {
  const [kernel, release] = await Promise.all([
    shell.run(["uname", "-r"], { signal }),
    shell.run(["sh", "-c", "cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release"], { signal }),
  ]);
  const version = kernel.code === 0 ? kernel.stdout.trim().slice(0, 200) : "";
  const name = /^PRETTY_NAME=(?:"([^"\n]*)"|'([^'\n]*)'|([^\s"']+))/m.exec(release.stdout);
  const os = (name?.[1] ?? name?.[2] ?? name?.[3] ?? "").slice(0, 200);
  return { ...(version !== "" && { kernel: version }), ...(os !== "" && { os }) };
}
