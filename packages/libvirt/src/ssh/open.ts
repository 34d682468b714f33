import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { abortReason, withDeadline } from "@godwit/core";
import ssh2, { type ConnectConfig } from "ssh2";
import { type Authentication, prepareAuthentication } from "./authentication.ts";
import { startCarrier } from "./carrier.ts";
import { SshError } from "./errors.ts";
import { describeHostKey, type HostKey, HostKeyVerifier } from "./host-key.ts";
import { formatHop, parseJump } from "./jump.ts";
import { Session, type SshSession, type Waiting } from "./session.ts";
import { resolveTarget, type SshOptions, type SshTarget } from "./target.ts";
import { carryMuch, importKeysOnce } from "./throughput.ts";

const CONNECT_TIMEOUT_MS = 30_000;
const MAX_JUMPS = 8;

/**
 * Opens an authenticated session whose host key was verified. Throws {@link SshError}, or
 * `signal.reason` on abort; nothing stays open then.
 */
export async function openSsh(options: SshOptions): Promise<SshSession> {
  return overall(options, (signal) => openVia({ ...options, signal }, []));
}

/**
 * The key that the host shows, without trusting or logging in: for a person to compare and accept.
 * Jump hosts on the way must be trusted already.
 */
export async function fetchHostKey(options: SshOptions): Promise<HostKey> {
  return overall(options, async (signal) => {
    const target = resolveTarget(options);
    await using way = await openWay({ ...options, signal }, target, []);
    return await new Promise<HostKey>((resolve, reject) => {
      const verify = (key: Buffer): boolean => {
        resolve(describeHostKey(target, key));
        return false;
      };
      const client = new ssh2.Client();
      client.on("error", (error) => reject(handshakeError(target, error)));
      client.on("close", () => reject(handshakeError(target)));
      signal.addEventListener("abort", () => reject(abortReason(signal)), { once: true });
      client.connect({ sock: way.socket, username: target.user, readyTimeout: 0, hostVerifier: verify });
    });
  });
}

function overall<T>(options: SshOptions, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const ms = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
  const late = (): SshError =>
    new SshError("timeout", `ssh ${options.host}: no session after ${ms} ms; check that the host is up and reachable`, { ms });
  return withDeadline(ms, late, options.signal, body);
}

async function openVia(options: SshOptions & { signal: AbortSignal }, via: readonly string[]): Promise<Session> {
  const target = resolveTarget(options);
  const [verifier, authentication] = await Promise.all([HostKeyVerifier.create(target), prepareAuthentication(target, options)]);
  await using stack = new AsyncDisposableStack();
  const way = stack.use(await openWay(options, target, via));
  const client = await logIn(way.socket, target, { verifier, authentication, signal: options.signal });
  const { accepted } = verifier;
  const plain = options.password === undefined && options.passphrase === undefined && via.length === 0;
  const carry = accepted && plain ? (path: string, waiting: Waiting = {}) => startCarrier(target, accepted, path, waiting) : undefined;
  return new Session(client, way.socket, describe(target), { below: stack.move(), carry });
}

interface Way extends AsyncDisposable {
  readonly socket: Duplex;
}

/** A byte channel to the SSH server: direct, or through the jump hosts. */
async function openWay(options: SshOptions & { signal: AbortSignal }, target: SshTarget, via: readonly string[]): Promise<Way> {
  const passed = [...via, target.name];
  if (passed.length > MAX_JUMPS)
    throw new SshError("config", `ssh ${target.name}: more than ${MAX_JUMPS} jump hosts; check ProxyJump for a circle`);
  await using stack = new AsyncDisposableStack();
  const hops = parseJump(target.jump).filter((hop) => !passed.includes(hop.host));
  const last = hops.at(-1);
  // The last hop is reached through those before it; a single one by its own ProxyJump, if it has any.
  const before = hops.slice(0, -1).map(formatHop).join(",") || undefined;
  const hop =
    last && stack.use(await openVia({ ...options, ...last, port: last.port, user: last.user, jump: before, hostKeys: undefined }, passed));
  const socket = hop ? await hop.openTcp(target.host, target.port, options) : await connectTcp(target, options.signal);
  stack.defer(() => void socket.destroy());
  const owned = stack.move();
  return { socket, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function connectTcp(target: SshTarget, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: target.host, port: target.port, noDelay: true });
    const stop = (): void => void socket.destroy(abortReason(signal));
    const failed = (error: Error): void => {
      signal.removeEventListener("abort", stop);
      const way = "check name and port, and that sshd runs there";
      reject(
        signal.aborted
          ? abortReason(signal)
          : new SshError("connect", `${describe(target)} was not reached; ${way}`, { host: target.host }, { cause: error }),
      );
    };
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    socket.once("error", failed);
    socket.once("connect", () => {
      signal.removeEventListener("abort", stop);
      socket.off("error", failed);
      resolve(socket);
    });
  });
}

interface LogIn {
  readonly verifier: HostKeyVerifier;
  readonly authentication: Authentication;
  readonly signal: AbortSignal;
}

async function logIn(sock: Duplex, target: SshTarget, { verifier, authentication, signal }: LogIn): Promise<ssh2.Client> {
  const client = new ssh2.Client();
  importKeysOnce(client);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const failed = (error?: Error): void => reject(verifier.refusal ?? loginError(target, authentication, error));
  const onError = (error: Error & { level?: string }): void => {
    // The agent, or one key, failed: ssh2 goes on with the next method and tells at the end.
    if (error.level === "agent" || error.message.startsWith("Error signing")) authentication.note(error.message);
    else failed(error);
  };
  const onClose = (): void => failed();
  const stop = (): void => reject(abortReason(signal));
  client.on("error", onError).on("close", onClose).once("ready", resolve);
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    client.connect(connectConfig(sock, target, verifier, authentication));
    carryMuch(sock);
    await promise;
    client.off("error", onError).off("close", onClose);
    return client;
  } catch (error) {
    sock.destroy();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function connectConfig(sock: Duplex, target: SshTarget, verifier: HostKeyVerifier, authentication: Authentication): ConnectConfig {
  return {
    sock,
    username: target.user,
    // The deadline is ours; it covers name resolution and jump hosts too.
    readyTimeout: 0,
    keepaliveInterval: target.keepalive.intervalMs,
    keepaliveCountMax: target.keepalive.count,
    hostVerifier: (key: Buffer) => verifier.verify(key),
    algorithms: { serverHostKey: verifier.algorithms as NonNullable<NonNullable<ConnectConfig["algorithms"]>["serverHostKey"]> & string[] },
    authHandler: authentication.handler,
  };
}

function loginError(target: SshTarget, { log }: Authentication, error?: Error & { level?: string }): SshError {
  if (error?.level !== "client-authentication") return handshakeError(target, error);
  const tried = log.length > 0 ? log.join("; ") : "there was nothing to try";
  const way = "put one of the public keys into the user's ~/.ssh/authorized_keys there, or name another user or key";
  return new SshError("authentication", `${describe(target)} refused the login (${tried}); ${way}`, {
    host: target.host,
    user: target.user,
  });
}

function handshakeError(target: SshTarget, error?: Error): SshError {
  const text = `${describe(target)}: the SSH handshake failed; check that this is an SSH server of this decade`;
  return new SshError("connect", text, { host: target.host, port: target.port }, error && { cause: error });
}

function describe({ user, host, port }: SshTarget): string {
  return `ssh://${user}@${host.includes(":") ? `[${host}]` : host}${port === 22 ? "" : `:${port}`}`;
}
