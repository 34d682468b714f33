import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname } from "node:path";
import { ConfigError, type TcpAddress } from "../config.ts";
import { listening } from "./listening.ts";

/** Resolves to the `Host` headers that mean this listener, the first one for people. */
export async function listenTcp(server: Server, { host, port }: TcpAddress): Promise<string[]> {
  try {
    server.listen({ host, port, exclusive: true });
    await listening(server);
  } catch (error) {
    throw new ConfigError(`cannot listen on ${host}:${port}: ${(error as Error).message}`, { cause: error });
  }
  const actual = (server.address() as AddressInfo).port;
  return hostHeaders(host, actual);
}

/** Clients leave HTTP's own port out. */
export function hostHeaders(host: string, port: number): string[] {
  const names = [host.includes(":") ? `[${host}]` : host, "localhost"];
  return [...names.map((name) => `${name}:${port}`), ...(port === 80 ? names : [])];
}

const minTokenLength = 16;

/** The token in `file`; made, for its owner alone, when there is none. */
export function readToken(file: string): string {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST")
      throw new ConfigError(`cannot write the token file ${file}: ${(error as Error).message}`, { cause: error });
  }
  try {
    const token = readFileSync(file, "utf8").trim();
    if (token.length >= minTokenLength && /^[\x21-\x7e]+$/.test(token)) return token;
  } catch (error) {
    throw new ConfigError(`cannot read the token file ${file}: ${(error as Error).message}`, { cause: error });
  }
  throw new ConfigError(
    `the token in ${file} must be at least ${minTokenLength} visible ASCII characters; remove the file to have one made`,
  );
}
