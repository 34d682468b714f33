import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { findSshd } from "@godwit/lab";
import type { SshOptions } from "../src/ssh/index.ts";
import type { Environment } from "../src/uri/index.ts";

export const run = promisify(execFile);

/** A private sshd on 127.0.0.1 with its own keys, and a client's home beside it. */
export interface TestSshd extends AsyncDisposable {
  readonly port: number;
  readonly dir: string;
  readonly pid: number;
  /** The client's home, with `.ssh/id_ed25519` (accepted) and `.ssh/known_hosts` (empty). */
  readonly env: Environment;
  readonly knownHosts: string;
  /** What a client must pass to be trusted and to trust, when `trust()` was called. */
  options(more?: Partial<SshOptions>): SshOptions;
  /** The host key as `type base64`. */
  hostKey(type: "ed25519" | "rsa" | "ecdsa"): Promise<string>;
  /** Puts the ed25519 host key into known_hosts. */
  trust(): Promise<void>;
  log(): string;
}

/** `namespaceOf`: the process in whose mount namespace the sshd runs. */
export async function startSshd({ config = "", namespaceOf }: { config?: string; namespaceOf?: number } = {}): Promise<TestSshd> {
  await using stack = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), "godwit-sshd-"));
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const home = join(dir, "home");
  await mkdir(join(home, ".ssh"), { recursive: true, mode: 0o700 });
  await Promise.all([
    ...(["ed25519", "rsa", "ecdsa"] as const).map((type) => generateKey(join(dir, `host_${type}`), type)),
    generateKey(join(home, ".ssh/id_ed25519"), "ed25519"),
  ]);
  await writeFile(join(dir, "authorized_keys"), await readFile(join(home, ".ssh/id_ed25519.pub")), { mode: 0o600 });
  await writeFile(join(home, ".ssh/known_hosts"), "");
  const port = await freePort();
  await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  await writeFile(join(dir, "sshd_config"), sshdConfig(dir, port) + config);
  const sshd = await findSshd(AbortSignal.timeout(300_000));
  const command = [sshd.path, "-D", "-e", "-f", join(dir, "sshd_config")];
  const namespace = namespaceOf === undefined ? await ownNamespace(dir) : ["nsenter", "--mount", "--target", String(namespaceOf), "--"];
  const [program = "", ...args] = [...namespace, ...command];
  const child = spawn(program, args, {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...(sshd.libraryPath !== undefined && { LD_LIBRARY_PATH: sshd.libraryPath }) },
  });
  stack.defer(() => stopProcess(child));
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  await waitForListener(port, () => (child.exitCode === null ? undefined : log));
  const env: Environment = { variables: {}, home, userName: "root", uid: 0 };
  const knownHosts = join(home, ".ssh/known_hosts");
  const hostKey = async (type: string): Promise<string> =>
    (await readFile(join(dir, `host_${type}.pub`), "utf8")).split(" ").slice(0, 2).join(" ");
  const owned = stack.move();
  return {
    port,
    dir,
    pid: child.pid!,
    env,
    knownHosts,
    options: (more = {}) => ({ host: "127.0.0.1", port, user: "root", env, configFiles: false, connectTimeoutMs: 30_000, ...more }),
    hostKey,
    trust: async () => appendFile(knownHosts, `[127.0.0.1]:${port} ${await hostKey("ed25519")}\n`),
    log: () => log,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** What sshd wants in /etc/passwd: a machine without the package openssh-server does not have it. */
export const sshdUser = "sshd:x:64058:65534::/run/sshd:/usr/sbin/nologin\n";

/** The words that run a command where the user sshd exists. */
async function ownNamespace(dir: string): Promise<string[]> {
  const passwd = join(dir, "passwd");
  await writeFile(passwd, (await readFile("/etc/passwd", "utf8")) + sshdUser);
  return ["unshare", "--mount", "sh", "-c", `mount --bind ${passwd} /etc/passwd && exec "$@"`, "sh"];
}

function sshdConfig(dir: string, port: number): string {
  return `Port ${port}
ListenAddress 127.0.0.1
HostKey ${dir}/host_ed25519
HostKey ${dir}/host_rsa
HostKey ${dir}/host_ecdsa
AuthorizedKeysFile ${dir}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 100
`;
}

export async function generateKey(path: string, type = "ed25519", passphrase = ""): Promise<void> {
  await run("ssh-keygen", ["-q", "-t", type, "-N", passphrase, "-C", "test", "-f", path, ...(type === "rsa" ? ["-b", "2048"] : [])]);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Waits until something accepts connections; `dead` tells why nothing ever will. */
/** Somebody answers there: a Unix socket's file is there before anybody listens. */
export async function waitForListener(at: number | string, dead: () => string | undefined, deadlineMs = 60_000): Promise<void> {
  const until = performance.now() + deadlineMs;
  for (;;) {
    const socket = typeof at === "number" ? connect(at, "127.0.0.1") : connect(at);
    const ok = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (ok) return;
    const reason = dead();
    if (reason !== undefined || performance.now() > until) throw new Error(`nothing listens at ${at}: ${reason ?? "deadline"}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 3000);
  await exited;
  clearTimeout(timer);
}
