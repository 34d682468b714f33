import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { keyType } from "./known-hosts.ts";
import type { SshTarget } from "./target.ts";

/** A Unix socket of this machine that leads to one of a host. */
export interface Carrier extends AsyncDisposable {
  readonly path: string;
}

const alias = "godwit-carrier";
const prefix = "godwit-ssh-";
const startMs = 8000;
const lookMs = 15;
/** The longest path of a Unix socket (unix(7)). */
const maxPath = 107;

/**
 * Starts the system's `ssh`, which carries many times what ssh2 does. It trusts exactly the key that this host was
 * verified by, and nothing else; it ends when we do, as its remote command reads what we write. Undefined where there is
 * no `ssh`, or it cannot log in by itself.
 */
export async function startCarrier(
  target: SshTarget,
  hostKey: Buffer,
  remote: string,
  { signal }: { readonly signal?: AbortSignal | undefined },
): Promise<Carrier | undefined> {
  if (target.jump !== undefined || remote.includes(":")) return undefined;
  await (sweeping ??= sweep());
  const folder = await mkdtemp(join(tmpdir(), `${prefix}${process.pid}-`));
  const path = join(folder, "socket");
  const stop = async (child?: ChildProcess): Promise<void> => {
    if (child && child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    }
    await rm(folder, { recursive: true, force: true });
  };
  let child: ChildProcess | undefined;
  try {
    const knownHosts = join(folder, "known_hosts");
    await writeFile(knownHosts, `${alias} ${keyType(hostKey)} ${hostKey.toString("base64")}\n`, { mode: 0o600 });
    signal?.throwIfAborted();
    child =
      path.length > maxPath
        ? undefined
        : spawn("ssh", arguments_(target, { knownHosts, path, remote }), { stdio: ["pipe", "ignore", "ignore"] });
    if (child && (await listens(child, path, signal))) {
      const running = child;
      return { path, [Symbol.asyncDispose]: () => stop(running) };
    }
  } catch (error) {
    await stop(child);
    throw error;
  }
  await stop(child);
  return undefined;
}

let sweeping: Promise<void> | undefined;

/** Removes the folders that processes left which were killed. */
async function sweep(): Promise<void> {
  const names = await readdir(tmpdir()).catch(() => []);
  for (const name of names) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length).split("-")[0]) : 0;
    if (pid > 0 && !isAlive(pid)) await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => undefined);
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

function arguments_(
  { host, port, user, methods, keyFiles, agentSocket, identitiesOnly }: SshTarget,
  { knownHosts, path, remote }: { readonly knownHosts: string; readonly path: string; readonly remote: string },
): string[] {
  const options = {
    BatchMode: "yes",
    StrictHostKeyChecking: "yes",
    UserKnownHostsFile: knownHosts,
    GlobalKnownHostsFile: "none",
    HostKeyAlias: alias,
    CheckHostIP: "no",
    UpdateHostKeys: "no",
    IdentityAgent: methods.includes("agent") && agentSocket !== undefined ? agentSocket : "none",
    IdentitiesOnly: identitiesOnly || agentSocket === undefined ? "yes" : "no",
    ExitOnForwardFailure: "yes",
    StreamLocalBindMask: "0177",
    Compression: "no",
    Ciphers: "^aes128-gcm@openssh.com,aes256-gcm@openssh.com",
    ServerAliveInterval: "2",
    ServerAliveCountMax: "3",
    ConnectTimeout: "8",
  };
  const keys = methods.includes("privkey") ? keyFiles.flatMap((file) => ["-i", file.path]) : [];
  const set = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  return ["-F", "none", "-T", ...set, ...keys, "-l", user, "-p", String(port), "-L", `${path}:${remote}`, "--", host, "cat >/dev/null"];
}

/** ssh listens once it has logged in. */
async function listens(child: ChildProcess, path: string, signal: AbortSignal | undefined): Promise<boolean> {
  const state = { ended: false };
  child.once("exit", () => (state.ended = true));
  child.once("error", () => (state.ended = true));
  child.stdin?.on("error", () => undefined);
  const deadline = performance.now() + startMs;
  while (!state.ended && performance.now() < deadline) {
    try {
      await access(path);
      return true;
    } catch {
      await sleep(lookMs, undefined, signal && { signal });
    }
  }
  return false;
}
