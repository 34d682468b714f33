import { parseUri, type SshOptions } from "@godwit/libvirt";
import type { HostRecord } from "../../model/host.ts";
import type { HostShell } from "../../ports/shell.ts";
import { openLocalShell } from "./local-shell.ts";
import { openSshShell } from "./ssh-shell.ts";

/**
 * The shell of a registered host: over the SSH target that it was registered with, else over that of its
 * URI, else this machine's own where the URI means this machine. Undefined when there is none. Does not connect yet.
 * An unknown host key is refused, whatever the URI asks for.
 */
export function shellOf(record: Pick<HostRecord, "uri" | "ssh">): HostShell | undefined {
  const target = sshTargetOf(record);
  if (target) return openSshShell({ target });
  const { transport, driver } = parseUri(record.uri);
  return transport === "unix" && driver !== "test" ? openLocalShell() : undefined;
}

/** A dead link is noticed within 8 s, as the hypervisor's connection does. */
const keepalive = { intervalMs: 2000, count: 3 };

function sshTargetOf({ uri, ssh }: Pick<HostRecord, "uri" | "ssh">): SshOptions | undefined {
  if (ssh) {
    const { host, port, user, keyFile, knownHostsFile } = ssh;
    return {
      host,
      port,
      user,
      keepalive,
      keyFiles: keyFile === undefined ? undefined : [keyFile],
      knownHostsFiles: knownHostsFile === undefined ? undefined : [knownHostsFile],
    };
  }
  const { transport, host, port, user, connection } = parseUri(uri);
  if (transport !== "ssh" || host === undefined) return undefined;
  const { keyfile, knownHosts, sshauth } = connection;
  return {
    host,
    port,
    user,
    keepalive,
    methods: sshauth,
    keyFiles: keyfile === undefined ? undefined : [keyfile],
    knownHostsFiles: knownHosts === undefined ? undefined : [knownHosts],
  };
}
