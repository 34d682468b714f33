import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { HttpError } from "./problems.ts";

/** How a connection came in. Only the Unix socket, guarded by its file mode, goes without a token. */
export type Entrance = { readonly kind: "unix" } | { readonly kind: "tcp"; readonly token: string; readonly hosts: readonly string[] };

/** Knows by which listener each connection came. */
export class Entrances {
  readonly #bySocket = new WeakMap<Socket, Entrance>();

  admit(socket: Socket, entrance: Entrance): void {
    this.#bySocket.set(socket, entrance);
  }

  of(request: IncomingMessage): Entrance {
    const entrance = this.#bySocket.get(request.socket);
    if (!entrance) throw new HttpError(403, "forbidden", "this connection came by no known listener");
    return entrance;
  }
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/**
 * Refuses what may not come in. On TCP a web page in the admin's own browser is the likeliest stranger: the
 * `Host` must be the address listened on (no rebound DNS name), an `Origin` must be this very server, and the
 * token is compared in constant time.
 */
export function checkAccess(entrance: Entrance, { headers }: IncomingMessage, options: { readonly needsToken: boolean }): void {
  if (entrance.kind === "unix") return;
  const host = headers.host?.toLowerCase() ?? "";
  if (!entrance.hosts.includes(host)) throw new HttpError(403, "forbidden", `the Host header is none of ${entrance.hosts.join(", ")}`);
  const { origin } = headers;
  if (origin !== undefined && origin !== `http://${host}`)
    throw new HttpError(403, "forbidden", "requests of other web origins are refused");
  if (!options.needsToken) return;
  const given = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
  if (given === undefined) throw new HttpError(401, "unauthorized", "a token is needed on TCP: send 'Authorization: Bearer …'");
  if (!timingSafeEqual(digest(given), digest(entrance.token))) throw new HttpError(401, "unauthorized", "the token is not this server's");
}
