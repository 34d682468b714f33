import { isIPv6 } from "node:net";
import { encodePath, hasControlCharacter, percentDecode } from "./encoding.ts";
import { UriError } from "./errors.ts";
import {
  connectionParameters,
  type ConnectionParameters,
  formatParameters,
  isConnectionParameter,
  parseParameters,
  type UriParameter,
} from "./parameters.ts";

export type TransportKind = "unix" | "tcp" | "tls" | "ssh";

/** The parts of a libvirt URI as they were written. {@link formatUri} makes the text again. */
export interface UriParts {
  /** `qemu`, `test`, `xen`…; `remote` lets the daemon choose. */
  readonly driver: string;
  /** What follows `+` in the scheme, in lower case: `ssh`, `libssh`, `libssh2`, `tls`, `tcp`, `unix`. */
  readonly plus?: string;
  readonly user?: string;
  /** Without brackets. */
  readonly host?: string;
  readonly port?: number;
  /** Decoded; starts with `/`. */
  readonly path: string;
  /** All of them, decoded, in order. */
  readonly parameters: readonly UriParameter[];
}

/** A libvirt URI and what it means. Secrets have no place in it, so that it may be printed. */
export interface LibvirtUri extends UriParts {
  readonly transport: TransportKind;
  readonly connection: ConnectionParameters;
  /** What CONNECT_OPEN sends to the daemon: no transport, no place, no connection parameters; empty: the daemon chooses. */
  readonly driverUri: string;
}

const MAX_LENGTH = 8192;
const transports: Readonly<Record<string, TransportKind>> = {
  unix: "unix",
  tcp: "tcp",
  tls: "tls",
  ssh: "ssh",
  libssh: "ssh",
  libssh2: "ssh",
};

/**
 * Reads `driver[+transport]://[user@][host][:port]/[path][?parameters]`. Without transport it is a Unix
 * socket, or TLS when there is a host. Throws {@link UriError}; never anything else, and never slowly.
 */
export function parseUri(text: string): LibvirtUri {
  if (text.length > MAX_LENGTH) throw new UriError("syntax", "length", `${text.length} characters; the most is ${MAX_LENGTH}`);
  if (hasControlCharacter(text) || text.includes(" ") || !text.isWellFormed()) {
    throw new UriError("syntax", "text", "contains a space, a control character or broken Unicode; write a space as %20");
  }
  const match = /^([^:/?#]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/.exec(text);
  if (!match) throw new UriError("syntax", "scheme", `${JSON.stringify(text)} has no ://; write for example qemu:///system`);
  const [, scheme = "", authority = "", path = "", query = "", fragment] = match;
  if (fragment !== undefined) throw new UriError("syntax", "fragment", "libvirt takes none; write # as %23");
  return understand({
    ...parseScheme(scheme),
    ...parseAuthority(authority),
    path: percentDecode("path", path) || "/",
    parameters: parseParameters(query),
  });
}

/** The text of a URI; `parseUri(formatUri(uri))` equals `uri`. */
export function formatUri(parts: UriParts): string {
  const { driver, plus, user, host, port, path, parameters } = parts;
  const query = parameters.length > 0 ? `?${formatParameters(parameters)}` : "";
  const place = `${user === undefined ? "" : `${encodeURIComponent(user)}@`}${formatHost(host)}${port === undefined ? "" : `:${port}`}`;
  return `${driver}${plus === undefined ? "" : `+${plus}`}://${place}${encodePath(path)}${query}`;
}

function formatHost(host: string | undefined): string {
  if (host === undefined) return "";
  return host.includes(":") ? `[${host.replaceAll("%", "%25")}]` : host;
}

function understand(parts: UriParts): LibvirtUri {
  const { plus, user, host, port } = parts;
  const transport = plus === undefined ? (host === undefined ? "unix" : "tls") : transports[plus]!;
  if (transport === "unix" && (host !== undefined || user !== undefined || port !== undefined)) {
    const part = host === undefined ? (user === undefined ? "port" : "user") : "host";
    throw new UriError("syntax", part, "a Unix socket is on this machine; remove it, or use +ssh, +tls or +tcp with a host");
  }
  return { ...parts, transport, connection: connectionParameters(parts.parameters), driverUri: driverUriOf(parts) };
}

function driverUriOf({ driver, path, parameters }: UriParts): string {
  const name = parameters.find((parameter) => parameter.name.toLowerCase() === "name");
  if (name) return name.value;
  if (driver === "remote") return "";
  return formatUri({ driver, path, parameters: parameters.filter((parameter) => !isConnectionParameter(parameter.name)) });
}

function parseScheme(scheme: string): Pick<UriParts, "driver" | "plus"> {
  const match = /^([a-z][a-z0-9.-]*)(?:\+([a-z0-9]+))?$/i.exec(scheme);
  if (!match)
    throw new UriError("syntax", "scheme", `${JSON.stringify(scheme)} is not driver or driver+transport; write for example qemu+ssh`);
  const driver = match[1]!.toLowerCase();
  const plus = match[2]?.toLowerCase();
  if (plus === undefined) return { driver };
  if (plus === "ext")
    throw new UriError("unsupported", "scheme", "the ext transport runs a command of this machine, which we do not; use ssh, tls or unix");
  if (!Object.hasOwn(transports, plus))
    throw new UriError("syntax", "scheme", `transport ${JSON.stringify(plus)} is unknown; use ${Object.keys(transports).join(", ")}`);
  return { driver, plus };
}

function parseAuthority(authority: string): Pick<UriParts, "user" | "host" | "port"> {
  const at = authority.lastIndexOf("@");
  const place = /^(\[[^[\]]*\]|[^[\]:]*)(?::(\d*))?$/.exec(authority.slice(at + 1));
  if (!place) throw new UriError("syntax", "host", `${JSON.stringify(authority.slice(at + 1))} is not host, host:port or [IPv6]:port`);
  const host = place[1] === "" ? undefined : parseHost(place[1]!);
  const port = place[2] === undefined || place[2] === "" ? undefined : parsePort(place[2]);
  return {
    ...(at >= 0 && { user: parseUser(authority.slice(0, at)) }),
    ...(host !== undefined && { host }),
    ...(port !== undefined && { port }),
  };
}

function parseUser(text: string): string {
  if (text.includes(":"))
    throw new UriError(
      "syntax",
      "user",
      "a password does not belong into a URI; give it to the client as an option, and a literal : as %3A",
    );
  const user = percentDecode("user", text);
  if (user === "" || user.startsWith("-"))
    throw new UriError("syntax", "user", user === "" ? "is empty; remove the @" : "may not start with -");
  return user;
}

function parseHost(text: string): string {
  if (text.startsWith("[")) {
    const address = text.slice(1, -1).replace("%25", "%");
    if (!isIPv6(address) || !/^[0-9A-Za-z:.%_-]+$/.test(address)) throw new UriError("syntax", "host", `${text} is not an IPv6 address`);
    return address;
  }
  // Names are also compared with certificates, known_hosts and ~/.ssh/config, so they are taken literally.
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(text))
    throw new UriError(
      "syntax",
      "host",
      `${JSON.stringify(text)} is not a host name; use letters, digits, . - _ (IDN as xn--…), IPv6 in brackets`,
    );
  return text;
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!(port >= 1 && port <= 65_535)) throw new UriError("syntax", "port", `${text} is not between 1 and 65535`);
  return port;
}
