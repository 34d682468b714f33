import { access } from "node:fs/promises";
import { withDeadline } from "@godwit/core";
import { LibvirtError } from "../errors.ts";
import { daemonSockets, type Environment, type LibvirtUri, systemEnvironment } from "../uri/index.ts";
import type { SshTransportOptions } from "./ssh.ts";
import type { TlsOptions } from "./tls.ts";
import { openTcp, tcpPort } from "./tcp.ts";
import type { Transport } from "./transport.ts";
import { openUnix } from "./unix.ts";

export interface OpenTransportOptions {
  readonly signal?: AbortSignal | undefined;
  /** For everything until the daemon can be spoken to; default 30 s. */
  readonly connectTimeoutMs?: number | undefined;
  /** Use the daemon's read-only socket (Unix and SSH; elsewhere CONNECT_OPEN's flag is what counts). */
  readonly readOnly?: boolean | undefined;
  readonly ssh?: SshTransportOptions | undefined;
  readonly tls?: TlsOptions | undefined;
  /** Default: this process's. */
  readonly env?: Environment | undefined;
}

const CONNECT_TIMEOUT_MS = 30_000;

/**
 * Opens a byte channel to the daemon that the URI means. Throws `UriError`, `TlsError`, `SshError`, or
 * `LibvirtError` (`connection-lost`, `timeout`) for a socket; `signal.reason` on abort. Nothing stays open then.
 */
export async function openTransport(uri: LibvirtUri, options: OpenTransportOptions = {}): Promise<Transport> {
  const { env = systemEnvironment(), connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
  const all = { ...options, env, connectTimeoutMs };
  switch (uri.transport) {
    case "unix": {
      const path = await existingSocket(uri, env, options.readOnly ?? false);
      return socket(`unix:${path}`, all, (signal) => openUnix(path, { signal }));
    }
    case "tcp": {
      const { host = "localhost", port = tcpPort } = uri;
      return socket(`tcp:${host}:${port}`, all, (signal) => openTcp(host, port, { signal }));
    }
    // Loaded by those who need them: they would double the time to the first call over a local socket.
    case "tls":
      return (await import("./tls.ts")).openTlsTransport(uri, all);
    case "ssh":
      return (await import("./ssh.ts")).openSshTransport(uri, all);
  }
  return uri.transport satisfies never;
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "does not exist; start the libvirt daemon, or name its socket with ?socket=",
  EACCES: "may not be used by this user; run as root, or as a member of the group libvirt",
  EPERM: "may not be used by this user; run as root, or as a member of the group libvirt",
  ENOTFOUND: "has no address; check the host name",
};

interface Limits {
  readonly connectTimeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

async function socket(
  where: string,
  { connectTimeoutMs: ms, signal }: Limits,
  open: (signal: AbortSignal) => Promise<Transport>,
): Promise<Transport> {
  const late = (): LibvirtError =>
    new LibvirtError("timeout", `${where} did not answer within ${ms} ms; check that the daemon runs`, { timeoutMs: ms });
  try {
    return await withDeadline(ms, late, signal, open);
  } catch (error) {
    if (!(error instanceof LibvirtError) || error.kind !== "connection-lost") throw error;
    const cause = error.cause as NodeJS.ErrnoException | undefined;
    const reason = reasons[cause?.code ?? ""] ?? "is not answered; start the libvirt daemon there and check the address";
    throw new LibvirtError("connection-lost", `${where} ${reason}`, {}, { cause });
  }
}

/** The first candidate that exists, else the last, whose absence the error then names. */
async function existingSocket(uri: LibvirtUri, env: Environment, readOnly: boolean): Promise<string> {
  const { paths } = daemonSockets(uri, env, { readOnly });
  for (const path of paths) {
    const there = await access(path).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code !== "ENOENT",
    );
    if (there) return path;
  }
  return paths.at(-1)!;
}
