import { access } from "node:fs/promises";
import { daemonSockets, type Environment, type LibvirtUri, systemEnvironment } from "../uri/index.ts";
import { openTcpTransport, openUnixTransport } from "./open-socket.ts";
import { openSshTransport, type SshTransportOptions } from "./ssh.ts";
import { openTlsTransport, type TlsOptions } from "./tls.ts";
import type { Transport } from "./transport.ts";

export interface OpenTransportOptions {
  readonly signal?: AbortSignal | undefined;
  /** For everything until the daemon can be spoken to; default 30 s. */
  readonly connectTimeoutMs?: number | undefined;
  /** Use the daemon's read-only socket (Unix and SSH; elsewhere CONNECT_OPEN's flag is what counts). */
  readonly readonly?: boolean | undefined;
  readonly ssh?: SshTransportOptions | undefined;
  readonly tls?: TlsOptions | undefined;
  /** Default: this process's. */
  readonly env?: Environment | undefined;
}

const CONNECT_TIMEOUT_MS = 30_000;
const TCP_PORT = 16_509;

/**
 * Opens a byte channel to the daemon that the URI means. Throws `UriError`, `SocketError`, `TlsError` or
 * `SshError`, or `signal.reason` on abort; nothing stays open then.
 */
export async function openTransport(uri: LibvirtUri, options: OpenTransportOptions = {}): Promise<Transport> {
  const { env = systemEnvironment(), connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
  const all = { ...options, env, connectTimeoutMs };
  switch (uri.transport) {
    case "unix":
      return openUnixTransport(await existingSocket(uri, env, options.readonly ?? false), all);
    case "tcp":
      return openTcpTransport(uri.host ?? "localhost", uri.port ?? TCP_PORT, all);
    case "tls":
      return openTlsTransport(uri, all);
    case "ssh":
      return openSshTransport(uri, all);
  }
  return uri.transport satisfies never;
}

/** The first candidate that exists, else the last, whose absence the error then names. */
async function existingSocket(uri: LibvirtUri, env: Environment, readonly: boolean): Promise<string> {
  const { paths } = daemonSockets(uri, env, { readonly });
  for (const path of paths) {
    const there = await access(path).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code !== "ENOENT",
    );
    if (there) return path;
  }
  return paths.at(-1)!;
}
