import type { HostKey } from "./host-key.ts";
import type { SshSession } from "./session.ts";
import type { SshOptions } from "./target.ts";

// Loading ssh2 takes about as long as starting Node: only those who speak SSH pay for it.

/**
 * Opens an authenticated session whose host key was verified. Throws `SshError`, or `signal.reason` on abort; nothing
 * stays open then.
 */
export async function openSsh(options: SshOptions): Promise<SshSession> {
  const ssh = await import("./open.ts");
  return ssh.openSsh(options);
}

/**
 * The key that the host shows, without trusting or logging in: for a person to compare and accept. Jump hosts on the
 * way must be trusted already.
 */
export async function fetchHostKey(options: SshOptions): Promise<HostKey> {
  const ssh = await import("./open.ts");
  return ssh.fetchHostKey(options);
}
