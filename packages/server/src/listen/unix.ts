import { lstatSync, mkdirSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import { connect } from "node:net";
import { dirname } from "node:path";
import { ConfigError } from "../config.ts";
import { listening } from "./listening.ts";

/** The longest path that the kernel takes for a Unix socket (unix(7): 108 bytes with the closing zero). */
const maxPathBytes = 107;

/**
 * Listens on a Unix socket that only its owner may open. The socket of a dead server is replaced; one that is
 * answered, and a file that is no socket, are refused.
 */
export async function listenUnix(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > maxPathBytes)
    throw new ConfigError(`the socket path ${path} is longer than ${maxPathBytes} bytes: choose a shorter --socket`);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    await removeStale(path);
    // Before the first moment that it can be seen, not after.
    const before = process.umask(0o177);
    try {
      server.listen({ path });
    } finally {
      process.umask(before);
    }
    await listening(server);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`cannot listen on ${path}: ${(error as Error).message}; choose another --socket`, { cause: error });
  }
}

async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isSocket()) throw new ConfigError(`${path} is there and is no socket: remove it, or choose another --socket`);
  if (await isAnswered(path)) throw new ConfigError(`a server answers at ${path} already: stop it, or choose another --socket`);
  rmSync(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    const end = (answered: boolean): void => {
      probe.destroy();
      resolve(answered);
    };
    probe.once("connect", () => end(true));
    // Only a refusal proves that nobody is there; a full queue is somebody.
    probe.once("error", (error: NodeJS.ErrnoException) => end(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"));
  });
}
