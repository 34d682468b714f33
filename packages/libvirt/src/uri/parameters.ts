import { encodeParameter, percentDecode } from "./encoding.ts";
import { UriError } from "./errors.ts";

/** One `name=value` of the query, decoded, in its place. */
export interface UriParameter {
  readonly name: string;
  readonly value: string;
}

const modes = ["auto", "direct", "legacy"] as const;
const proxies = ["auto", "native", "netcat"] as const;
const knownHostsChecks = ["normal", "auto", "ignore"] as const;
const sshMethods = ["agent", "privkey", "password", "keyboard-interactive"] as const;

/** `auto`: the driver's own daemon where its socket exists, else libvirtd; `direct`: only the former; `legacy`: only libvirtd. */
export type DaemonMode = (typeof modes)[number];
export type ProxyMode = (typeof proxies)[number];
export type KnownHostsCheck = (typeof knownHostsChecks)[number];
export type SshMethod = (typeof sshMethods)[number];

/** The parameters that libvirt's client takes for itself; all others go to the driver with the URI. */
export interface ConnectionParameters {
  readonly name?: string;
  readonly mode: DaemonMode;
  readonly socket?: string;
  /** Undefined: as the other parameters suggest (see `docs/protocols/libvirt-transports.md`). */
  readonly proxy?: ProxyMode;
  readonly netcat?: string;
  readonly command?: string;
  readonly keyfile?: string;
  readonly sshauth?: readonly SshMethod[];
  readonly knownHosts?: string;
  readonly knownHostsVerify: KnownHostsCheck;
  readonly noVerify: boolean;
  readonly pkipath?: string;
  readonly tlsPriority?: string;
  /** `sasl`, `sasl.MECHANISM`, `polkit` or `none`: the way to authenticate to the daemon. */
  readonly auth?: string;
}

const connectionNames: ReadonlySet<string> = new Set(
  "name mode socket proxy netcat command keyfile sshauth known_hosts known_hosts_verify no_verify no_tty no_sanity pkipath tls_priority auth authfile".split(
    " ",
  ),
);

/** libvirt compares the names of its own parameters without regard to case. */
export function isConnectionParameter(name: string): boolean {
  return connectionNames.has(name.toLowerCase());
}

/** Reads a query; `;` separates as `&` does. A connection parameter that is given twice is an error. */
export function parseParameters(query: string): readonly UriParameter[] {
  const parameters = query
    .split(/[&;]/)
    .filter((item) => item !== "")
    .map((item): UriParameter => {
      const at = item.indexOf("=");
      const name = percentDecode("query", at < 0 ? item : item.slice(0, at));
      if (name === "") throw new UriError("syntax", "query", `${JSON.stringify(item)} has no name; write name=value`);
      return { name, value: at < 0 ? "" : percentDecode(`?${name}`, item.slice(at + 1)) };
    });
  const seen = new Set<string>();
  for (const { name } of parameters.filter(({ name }) => isConnectionParameter(name))) {
    if (seen.has(name.toLowerCase())) throw new UriError("syntax", `?${name}`, "is given twice; keep one");
    seen.add(name.toLowerCase());
  }
  return parameters;
}

export function formatParameters(parameters: readonly UriParameter[]): string {
  return parameters.map(({ name, value }) => `${encodeParameter(name)}=${encodeParameter(value)}`).join("&");
}

/** Interprets the connection parameters. */
export function connectionParameters(parameters: readonly UriParameter[]): ConnectionParameters {
  const given = new Map(parameters.map(({ name, value }) => [name.toLowerCase(), value]));
  const text = (name: string): string | undefined => {
    const value = given.get(name);
    if (value === "" && name !== "name") throw new UriError("syntax", `?${name}`, "is empty; give a value or leave it out");
    return value;
  };
  const optional = <K extends keyof ConnectionParameters>(key: K, name: string): Pick<ConnectionParameters, K> | undefined => {
    const value = text(name);
    return value === undefined ? undefined : ({ [key]: value } as unknown as Pick<ConnectionParameters, K>);
  };
  const proxy = oneOf("proxy", text("proxy"), proxies);
  const sshauth = text("sshauth");
  for (const ignored of ["no_tty", "no_sanity"]) flag(ignored, given.get(ignored));
  return {
    ...optional("name", "name"),
    mode: oneOf("mode", text("mode"), modes) ?? "auto",
    ...socketParameter(text("socket")),
    ...(proxy && { proxy }),
    ...optional("netcat", "netcat"),
    ...optional("command", "command"),
    ...optional("keyfile", "keyfile"),
    ...(sshauth !== undefined && { sshauth: sshauth.split(",").map((method) => oneOf("sshauth", method.trim(), sshMethods)!) }),
    ...optional("knownHosts", "known_hosts"),
    knownHostsVerify: oneOf("known_hosts_verify", text("known_hosts_verify"), knownHostsChecks) ?? "normal",
    noVerify: flag("no_verify", given.get("no_verify")),
    ...optional("pkipath", "pkipath"),
    ...optional("tlsPriority", "tls_priority"),
    ...optional("auth", "auth"),
  };
}

function socketParameter(socket: string | undefined): { socket: string } | undefined {
  if (socket === undefined) return undefined;
  if (!socket.startsWith("/"))
    throw new UriError("syntax", "?socket", `${JSON.stringify(socket)} is not an absolute path; start it with /`);
  return { socket };
}

function oneOf<T extends string>(name: string, value: string | undefined, allowed: readonly T[]): T | undefined {
  if (value === undefined || allowed.includes(value as T)) return value as T | undefined;
  throw new UriError("syntax", `?${name}`, `${JSON.stringify(value)} is unknown; use ${allowed.join(", ")}`);
}

function flag(name: string, value: string | undefined): boolean {
  if (value === undefined) return false;
  if (!/^[+-]?\d{1,9}$/.test(value)) throw new UriError("syntax", `?${name}`, `${JSON.stringify(value)} is not a number; use 0 or 1`);
  return Number(value) !== 0;
}
