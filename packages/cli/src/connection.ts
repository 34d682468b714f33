import { type Answer, Client } from "@godwit/api";
import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { CliError, exitCode } from "./exit.ts";

export interface ServerAddress {
  /** A Unix socket's path, or an `http://` URL. */
  readonly address: string;
  readonly tokenFile?: string | undefined;
}

function unreachable(address: string, cause: Error & { code?: string }): CliError {
  const why =
    cause.code === "ENOENT" || cause.code === "ECONNREFUSED"
      ? `no Godwit server answers at ${address}; start one with 'godwit server', or name it with --server`
      : cause.code === "EACCES"
        ? `${address} may not be opened by this user; run as the user of the server`
        : `the connection to ${address} failed`;
  return new CliError(exitCode.failed, why, { cause });
}

/** Importing it as a module would load all that it can be asked for, `fetch` among it: a tenth of the command's start. */
const { request } = process.getBuiltinModule("node:http");

function toAnswer(message: IncomingMessage): Answer {
  const status = message.statusCode ?? 502;
  const bodiless = status === 204 || status === 304;
  if (bodiless) message.resume();
  return {
    ok: status >= 200 && status < 300,
    status,
    body: bodiless ? null : message,
    async text() {
      if (bodiless) return "";
      const chunks: Buffer[] = [];
      for await (const chunk of message) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString("utf8");
    },
  };
}

/** A `fetch` over a Unix socket, which the platform's own cannot do. */
function unixFetch(socketPath: string): (url: string, init: RequestInit) => Promise<Answer> {
  return (url, init) =>
    new Promise((resolve, reject) => {
      const { pathname, search } = new URL(url);
      const headers = init.headers as Record<string, string>;
      const outgoing = request({
        socketPath,
        path: pathname + search,
        method: init.method ?? "GET",
        headers,
        ...(init.signal ? { signal: init.signal } : {}),
      });
      outgoing.on("response", (message) => resolve(toAnswer(message)));
      outgoing.on("error", (error) => reject(error.name === "AbortError" ? error : unreachable(socketPath, error)));
      outgoing.end(typeof init.body === "string" ? init.body : undefined);
    });
}

/** A client of the server at an address; reads the token file now, connects on the first call. */
export function connectServer({ address, tokenFile }: ServerAddress): Client {
  if (!/^https?:\/\//.test(address)) return new Client({ baseUrl: "http://godwit", fetch: unixFetch(address) });
  if (tokenFile === undefined) {
    throw new CliError(exitCode.usage, `the server at ${address} wants a token: name its file with --token-file or GODWIT_TOKEN_FILE`);
  }
  const token = readFileSync(tokenFile, "utf8").trim();
  const overTcp = async (url: string, init: RequestInit): Promise<Response> => {
    try {
      return await fetch(url, init);
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : (error as Error);
      throw (error as Error).name === "AbortError" ? error : unreachable(address, cause);
    }
  };
  return new Client({ baseUrl: address, token, fetch: overTcp });
}
