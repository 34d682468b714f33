import { once } from "node:events";
import type { Server } from "node:http";

/** Resolves once the server listens; rejects with what kept it from it. */
export async function listening(server: Server): Promise<void> {
  if (!server.listening) await once(server, "listening");
}
