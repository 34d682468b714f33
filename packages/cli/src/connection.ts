import { Client } from "@godwit/api";
import { readFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { Readable } from "node:stream";
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

function toResponse(message: IncomingMessage): Response {
  const headers = new Headers();
  for (const [name, value] of Object.entries(message.headers)) {
    for (const one of Array.isArray(value) ? value : [value ?? ""]) headers.append(name, one);
  }
  const status = message.statusCode ?? 502;
  const bodiless = status === 204 || status === 304;
  if (bodiless) message.resume();
  return new Response(bodiless ? null : (Readable.toWeb(message) as ReadableStream<Uint8Array>), { status, headers });
}

/** A `fetch` over a Unix socket, which the platform's own cannot do. */
function unixFetch(socketPath: string): (url: string, init: RequestInit) => Promise<Response> {
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
      outgoing.on("response", (message) => resolve(toResponse(message)));
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
