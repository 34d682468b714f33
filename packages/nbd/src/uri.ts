import type { Duplex } from "node:stream";
import { usage } from "./error.ts";
import { NBD_PORT } from "./protocol/constants.ts";

/** Where a server listens: by TCP, on a Unix socket, or at the other end of a stream that somebody else opens (an SSH channel). */
export type NbdAddress = { readonly host: string; readonly port: number } | { readonly path: string } | NbdDialled;

/** A server that only the caller can reach. Every connection opens a stream of its own, which is closed with it. */
export interface NbdDialled {
  /** For messages. */
  readonly name: string;
  open(options: { readonly signal: AbortSignal | undefined }): Promise<Duplex>;
}

/** An export and how to get there. */
export interface NbdTarget {
  readonly address: NbdAddress;
  /** Default: the empty name, a server's default export. */
  readonly exportName: string;
  /** `true`: refuse to go on without TLS. */
  readonly requireTls: boolean;
  /** What the URI says about TLS; {@link NbdTlsOptions} given by the caller come first. */
  readonly tls: {
    readonly hostname?: string;
    readonly verifyPeer?: boolean;
    readonly username?: string;
    readonly certificates?: string;
    readonly pskFile?: string;
  };
}

/** The address as people write it. */
export function formatAddress(address: NbdAddress): string {
  if ("open" in address) return address.name;
  if ("path" in address) return address.path.replace("\0", "@");
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

const SCHEMES: ReadonlyMap<string, { readonly unix: boolean; readonly tls: boolean }> = new Map([
  ["nbd:", { unix: false, tls: false }],
  ["nbds:", { unix: false, tls: true }],
  ["nbd+unix:", { unix: true, tls: false }],
  ["nbds+unix:", { unix: true, tls: true }],
]);
const PARAMETERS = new Set(["socket", "tls-type", "tls-hostname", "tls-verify-peer", "tls-certificates", "tls-psk-file"]);

/** Reads an NBD URI (NetworkBlockDevice/nbd, doc/uri.md). */
export function parseNbdUri(text: string): NbdTarget {
  const uri = URL.parse(text);
  const scheme = uri ? SCHEMES.get(uri.protocol) : undefined;
  if (!uri || !scheme) throw bad(text, "it must start with nbd://, nbds://, nbd+unix:// or nbds+unix://");
  if (uri.hash !== "") throw bad(text, "it has a fragment (#…)");
  for (const name of uri.searchParams.keys()) {
    if (!PARAMETERS.has(name)) throw bad(text, `the parameter ${name} is not known; known are ${[...PARAMETERS].join(", ")}`);
    if (uri.searchParams.getAll(name).length > 1) throw bad(text, `the parameter ${name} is given twice`);
  }
  return {
    address: scheme.unix ? unixAddress(uri, text) : tcpAddress(uri, text),
    exportName: decode(rawPath(text).replace(/^\//, ""), text),
    requireTls: scheme.tls,
    tls: tlsParameters(uri, text),
  };
}

/** The path as written: an export's name is no path, and a URL parser would take `..` for one. */
function rawPath(text: string): string {
  return /^[^:]+:\/\/[^/?#]*([^?#]*)/.exec(text)?.[1] ?? "";
}

function unixAddress(uri: URL, text: string): NbdAddress {
  const path = uri.searchParams.get("socket") ?? "";
  if (path === "") throw bad(text, "a Unix URI needs ?socket=/path/of/the/socket");
  if (uri.host !== "") throw bad(text, `a Unix URI has no host, write ${uri.protocol}///export?socket=…`);
  if (path.indexOf("\0", 1) > 0 || Buffer.byteLength(path) > 107) throw bad(text, "the socket's path is too long or contains a NUL");
  return { path };
}

function tcpAddress(uri: URL, text: string): NbdAddress {
  if (uri.searchParams.has("socket")) throw bad(text, "socket= belongs to nbd+unix:// and nbds+unix://");
  const host = decode(uri.hostname, text).replace(/^\[(.*)\]$/, "$1");
  return { host: host === "" ? "localhost" : host, port: uri.port === "" ? NBD_PORT : Number(uri.port) };
}

function tlsParameters(uri: URL, text: string): NbdTarget["tls"] {
  const type = uri.searchParams.get("tls-type");
  if (type !== null && type !== "x509" && type !== "psk") throw bad(text, `tls-type is ${type}; x509 and psk are supported`);
  const verify = uri.searchParams.get("tls-verify-peer");
  if (verify !== null && verify !== "0" && verify !== "1") throw bad(text, "tls-verify-peer is 0 or 1");
  const optional = <K extends string>(key: K, value: string | null): { [P in K]?: string } =>
    (value === null || value === "" ? {} : { [key]: value }) as { [P in K]?: string };
  return {
    ...optional("hostname", uri.searchParams.get("tls-hostname")),
    ...optional("certificates", uri.searchParams.get("tls-certificates")),
    ...optional("pskFile", uri.searchParams.get("tls-psk-file")),
    ...optional("username", decode(uri.username, text)),
    ...(verify === null ? {} : { verifyPeer: verify === "1" }),
  };
}

/** Writes the URI of a target; `parseNbdUri` reads it back. */
export function formatNbdUri(target: Pick<NbdTarget, "address" | "exportName"> & Partial<NbdTarget>): string {
  if ("open" in target.address)
    throw usage("unsupported", "a stream that was opened by the caller has no NBD URI", { server: target.address.name });
  const scheme = `nbd${target.requireTls ? "s" : ""}${"path" in target.address ? "+unix" : ""}`;
  const parameters = Object.entries({
    socket: "path" in target.address ? target.address.path : undefined,
    "tls-hostname": target.tls?.hostname,
    "tls-verify-peer": target.tls?.verifyPeer === undefined ? undefined : target.tls.verifyPeer ? "1" : "0",
    "tls-certificates": target.tls?.certificates,
    "tls-psk-file": target.tls?.pskFile,
  })
    .filter((entry) => entry[1] !== undefined)
    .map(([name, value]) => `${name}=${encodeURIComponent(value!).replaceAll("%2F", "/")}`);
  const user = target.tls?.username === undefined ? "" : `${encodeURIComponent(target.tls.username)}@`;
  const authority = "path" in target.address ? "" : `${user}${formatAddress(target.address)}`;
  return `${scheme}://${authority}/${encodeURIComponent(target.exportName)}${parameters.length > 0 ? `?${parameters.join("&")}` : ""}`;
}

function decode(part: string, text: string): string {
  try {
    const decoded = decodeURIComponent(part);
    if (!decoded.includes("\0")) return decoded;
  } catch {
    // falls through to the same refusal
  }
  throw bad(text, "it contains a bad percent escape");
}

function bad(text: string, why: string): Error {
  return usage("unsupported", `not a usable NBD URI: ${why}`, { uri: text.slice(0, 200) });
}
