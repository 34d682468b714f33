import { connectSocket, socketTransport } from "./socket.ts";
import type { Transport } from "./transport.ts";

/** Connects to a daemon's Unix socket. The kernel tells the daemon who we are, and nobody can read along. */
export async function openUnix(path: string, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Transport> {
  const description = `unix:${path}`;
  return socketTransport(await connectSocket({ path }, description, options.signal), description, true);
}
