import { connectSocket, socketTransport } from "./socket.ts";
import type { Transport } from "./transport.ts";

/** libvirtd's port without encryption (`listen_tcp`). */
export const tcpPort = 16509;

/**
 * Connects to a daemon over plain TCP: anybody on the way can read and change everything. For loopback and tests; use
 * TLS or SSH across a network.
 */
export async function openTcp(
  host: string,
  port: number = tcpPort,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Transport> {
  const description = `tcp:${host.includes(":") ? `[${host}]` : host}:${port}`;
  const socket = await connectSocket({ host, port, noDelay: true }, description, options.signal);
  return socketTransport(socket, description, false);
}
