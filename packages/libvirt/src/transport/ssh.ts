import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { describeError, raceAbort } from "@godwit/core";
import { openSsh, SshError, shellCommand, type HostKeyPolicy, type SshOptions, type SshSession, type Waiting } from "../ssh/index.ts";
import { daemonSockets, type Environment, expandHome, formatUri, type LibvirtUri, systemEnvironment, UriError } from "../uri/index.ts";
import { isConnectionParameter } from "../uri/parameters.ts";
import type { Transport } from "./transport.ts";

/** Options of the session; the URI's own parameters come before them. */
export interface SshTransportOptions extends Omit<SshOptions, "host" | "port" | "user" | "signal" | "env" | "connectTimeoutMs"> {
  /** Use this session instead of opening one; it stays open when the transport closes. */
  readonly session?: SshSession | undefined;
  /** The weakest policy that a URI may ask for with `known_hosts_verify=` or `no_verify=`; default `strict`. */
  readonly allowHostKeyPolicy?: HostKeyPolicy | undefined;
}

export interface OpenSshOptions {
  readonly ssh?: SshTransportOptions | undefined;
  readonly readOnly?: boolean | undefined;
  readonly env?: Environment | undefined;
  readonly connectTimeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** How to reach the daemon from the host's SSH server. */
export type SshWay = "virt-ssh-helper" | "forwarding" | "netcat";

/** A channel to the daemon of a host that is reached with SSH. Throws {@link SshError} or {@link UriError}. */
export async function openSshTransport(uri: LibvirtUri, options: OpenSshOptions): Promise<Transport> {
  const env = options.env ?? systemEnvironment();
  const ways = sshWays(uri);
  const given = options.ssh?.session;
  const session = given ?? (await openSsh(sessionOptions(uri, { ...options, env })));
  const done = async (): Promise<void> => (given ? undefined : session.close());
  try {
    const { stream, way } = await firstWay(session, uri, ways, options);
    // Whoever reads gets the error; it must not end the process when nobody reads yet.
    stream.on("error", () => undefined);
    const close = async (): Promise<void> => {
      stream.destroy();
      await done();
    };
    return { stream, description: `${session.description} (${way})`, secure: true, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await done();
    throw error;
  }
}

/**
 * Which ways to try, in order. As in libvirt `proxy=native` and `proxy=netcat` mean just that, and
 * `netcat=` implies the latter. `socket=` and `mode=` need a way that honours them: the virt-ssh-helper of
 * libvirt 9.0 takes `socket=` and goes elsewhere (measured). A session daemon's socket can only be found
 * on its own machine.
 */
export function sshWays(uri: LibvirtUri): readonly SshWay[] {
  const { proxy, netcat, socket, mode, command } = uri.connection;
  if (command !== undefined)
    throw new UriError(
      "unsupported",
      "?command",
      "names an ssh program, and we run none; put what it does into ~/.ssh/config (ProxyJump, Port, IdentityFile)",
    );
  if (proxy === "native") {
    if (netcat !== undefined) throw new UriError("syntax", "?netcat", "contradicts proxy=native; keep one");
    if (socket !== undefined)
      throw new UriError(
        "unsupported",
        "?socket",
        "is ignored by the virt-ssh-helper of libvirt 9.0, which would reach another daemon; remove proxy=native",
      );
    return ["virt-ssh-helper"];
  }
  if (proxy === "netcat" || (proxy === undefined && netcat !== undefined)) return ["netcat"];
  if (socket !== undefined) return ["forwarding", "netcat"];
  if (uri.path === "/session") return ["virt-ssh-helper"];
  return mode !== "auto" || uri.driver === "remote" ? ["forwarding", "netcat"] : ["virt-ssh-helper", "forwarding", "netcat"];
}

function sessionOptions(uri: LibvirtUri, options: OpenSshOptions & { env: Environment }): SshOptions {
  const { keyfile, knownHosts, sshauth } = uri.connection;
  const { session: _session, allowHostKeyPolicy: _allow, ...ssh } = options.ssh ?? {};
  return {
    ...ssh,
    host: uri.host ?? "localhost",
    port: uri.port,
    user: uri.user,
    ...(keyfile !== undefined && { keyFiles: [expandHome(keyfile, options.env)] }),
    ...(knownHosts !== undefined && { knownHostsFiles: [expandHome(knownHosts, options.env)] }),
    ...(sshauth !== undefined && { methods: sshauth }),
    ...hostKeyPolicy(uri, options.ssh?.allowHostKeyPolicy ?? "strict"),
    env: options.env,
    connectTimeoutMs: options.connectTimeoutMs,
    signal: options.signal,
  };
}

const strength: Readonly<Record<HostKeyPolicy, number>> = { ignore: 0, "accept-new": 1, strict: 2 };

function hostKeyPolicy(uri: LibvirtUri, allowed: HostKeyPolicy): { hostKeyPolicy: HostKeyPolicy } | undefined {
  const { knownHostsVerify, noVerify } = uri.connection;
  const wanted: HostKeyPolicy =
    knownHostsVerify === "ignore" ? "ignore" : knownHostsVerify === "auto" || noVerify ? "accept-new" : "strict";
  if (wanted === "strict") return undefined;
  if (strength[wanted] >= strength[allowed]) return { hostKeyPolicy: wanted };
  const part = knownHostsVerify === "normal" ? "?no_verify" : "?known_hosts_verify";
  throw new UriError(
    "insecure",
    part,
    `would accept host keys that nobody vouched for; remove it, or allow it with the option ssh.allowHostKeyPolicy: "${wanted}"`,
  );
}

async function firstWay(
  session: SshSession,
  uri: LibvirtUri,
  ways: readonly SshWay[],
  options: OpenSshOptions,
): Promise<{ stream: Duplex; way: string }> {
  const failures: Error[] = [];
  for (const way of ways) {
    try {
      return await tryWay(session, uri, way, options);
    } catch (error) {
      // Only "this way does not exist here" leads to the next one.
      if (!(error instanceof SshError) || (error.kind !== "channel" && error.kind !== "remote")) throw error;
      failures.push(error);
    }
  }
  const text = `${session.description}: no way to libvirt on this host; check that libvirtd or virtqemud runs there and that the user may use its socket`;
  throw new SshError("remote", text, { ways: ways.join(", ") }, { cause: new Error(failures.map(describeError).join("; ")) });
}

async function tryWay(
  session: SshSession,
  uri: LibvirtUri,
  way: SshWay,
  options: OpenSshOptions,
): Promise<{ stream: Duplex; way: string }> {
  switch (way) {
    case "virt-ssh-helper":
      return { stream: await runProxy(session, [way, helperScript, options.readOnly ? "-r" : "", helperUri(uri)], options), way };
    case "netcat":
      return {
        stream: await runProxy(session, [way, netcatScript, uri.connection.netcat ?? "nc", ...remoteSockets(uri, options)], options),
        way,
      };
    case "forwarding":
      return forward(session, remoteSockets(uri, options), options);
  }
  return way satisfies never;
}

/** The first socket that the SSH server can connect to. */
async function forward(session: SshSession, paths: readonly string[], waiting: Waiting): Promise<{ stream: Duplex; way: string }> {
  let failure: unknown;
  for (const path of paths) {
    try {
      return { stream: await session.openUnixSocket(path, waiting), way: path };
    } catch (error) {
      if (!(error instanceof SshError) || error.kind !== "channel") throw error;
      failure ??= error;
    }
  }
  throw failure;
}

/** libvirt's name for the run directory on machines that it cannot see: every one with /run has a /var/run. */
function remoteSockets(uri: LibvirtUri, { readOnly = false }: OpenSshOptions): readonly string[] {
  const remote: Environment = { variables: {}, home: "/", userName: "root", uid: 0 };
  return daemonSockets(uri, remote, { readOnly, run: "/var/run" }).paths;
}

/** The helper finds the socket itself; newer ones honour `mode`. */
function helperUri(uri: LibvirtUri): string {
  const { driver, path, connection, parameters } = uri;
  if (connection.name !== undefined) return connection.name;
  const kept = connection.mode === "auto" ? [] : [{ name: "mode", value: connection.mode }];
  return formatUri({ driver, path, parameters: [...parameters.filter(({ name }) => !isConnectionParameter(name)), ...kept] });
}

// Both print a mark right before they hand over, so that we know that the proxy is there, and that
// what a login script wrote before it is not taken for libvirt's answer.
const helperScript = `mark=$1 readonly=$2 uri=$3
command -v virt-ssh-helper >/dev/null 2>&1 || { echo "virt-ssh-helper: not found" >&2; exit 127; }
printf '%s\\n' "$mark"
exec virt-ssh-helper $readonly "$uri"`;

// Some netcats stay when their input ends unless they get -q0; they say so when -q has no argument.
const netcatScript = `mark=$1 nc=$2; shift 2
command -v "$nc" >/dev/null 2>&1 || { echo "$nc: not found" >&2; exit 127; }
for socket; do test -S "$socket" && break; done
test -S "$socket" || { echo "$socket: no such socket" >&2; exit 1; }
case $("$nc" -q 2>&1 </dev/null) in *"requires an argument"*) set -- -q0;; *) set --;; esac
printf '%s\\n' "$mark"
exec "$nc" "$@" -U "$socket"`;

const MAX_NOISE = 64 * 1024;

async function runProxy(
  session: SshSession,
  [name, script, ...args]: readonly [string, string, ...string[]],
  { signal }: Waiting,
): Promise<Duplex> {
  const mark = `godwit-${randomBytes(12).toString("hex")}`;
  const { stream } = await session.spawn(shellCommand(["sh", "-c", script, "sh", mark, ...args]), { name, signal });
  stream.on("error", () => undefined);
  try {
    await raceAbort(skipPast(stream, `${mark}\n`), signal);
    return stream;
  } catch (error) {
    stream.destroy();
    throw error;
  }
}

/** Resolves when there is something to read, or never will be. */
function news(stream: Duplex): Promise<void> {
  const events = ["readable", "end", "close"] as const;
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of events) stream.off(event, done);
      resolve();
    };
    for (const event of events) stream.on(event, done);
  });
}

/** Reads up to and including the mark; what follows it stays in the stream. */
async function skipPast(stream: Duplex, mark: string): Promise<void> {
  let seen = Buffer.alloc(0);
  for (;;) {
    const chunk = stream.read() as Buffer | null;
    if (chunk === null) {
      if (stream.readableEnded || stream.destroyed)
        throw stream.errored ?? new SshError("remote", "the remote shell ended before it ran the proxy");
      await news(stream);
      continue;
    }
    seen = Buffer.concat([seen, chunk]);
    const at = seen.indexOf(mark);
    if (at >= 0) {
      const rest = seen.subarray(at + mark.length);
      if (rest.length > 0) stream.unshift(rest);
      return;
    }
    if (seen.length > MAX_NOISE)
      throw new SshError("remote", `the remote login scripts write more than ${MAX_NOISE} bytes; make them silent without a terminal`);
  }
}
