import { spawn } from "node:child_process";
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, run, sshdUser, stopProcess, waitForListener } from "./ssh-fixture.ts";

/** A private libvirtd with its own mount namespace: its directories, users and SASL settings are not the machine's. */
export interface TestDaemon extends AsyncDisposable {
  readonly dir: string;
  readonly pid: number;
  readonly socket: string;
  readonly tlsPort: number;
  readonly tcpPort: number;
  log(): string;
}

export interface DaemonOptions {
  /** Lines for libvirtd.conf. */
  readonly config?: string;
  /** Directory with cacert.pem, servercert.pem and serverkey.pem: the daemon listens with TLS. */
  readonly pki?: string;
  readonly tcp?: boolean;
  /** SASL mechanisms; the user `godwit` has the password `correct horse`. */
  readonly mechanisms?: readonly string[];
}

export const password = "correct horse";

export async function startDaemon({ config = "", pki, tcp = false, mechanisms = [] }: DaemonOptions = {}): Promise<TestDaemon> {
  await using stack = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), "godwit-libvirtd-"));
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const binds: Record<string, string> = {};
  for (const path of ["/run/libvirt", "/etc/libvirt", "/etc/sasl2", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt"]) {
    binds[path] = join(dir, path.replaceAll("/", "-").slice(1));
    await mkdir(binds[path], { recursive: true });
    // The place to mount on must exist on the machine, too.
    await mkdir(path, { recursive: true });
  }
  // libvirt's QEMU driver wants its user to exist, whether or not it is used; sshd, which tests run in here, its own.
  for (const [file, line] of [
    ["/etc/passwd", `libvirt-qemu:x:64055:64055::/:/bin/false\n${sshdUser}`],
    ["/etc/group", "libvirt-qemu:x:64055:\nkvm:x:64056:\nlibvirt:x:64057:\n"],
  ] as const) {
    binds[file] = join(dir, file.replaceAll("/", "-").slice(1));
    await writeFile(binds[file], await readFile(file));
    await appendFile(binds[file], line);
  }
  await writeFile(
    join(binds["/etc/libvirt"]!, "qemu.conf"),
    'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nremember_owner = 0\nstdio_handler = "file"\nnamespaces = []\ncgroup_controllers = []\n',
  );
  if (mechanisms.length > 0) await prepareSasl(dir, binds["/etc/sasl2"]!, mechanisms);
  const [tlsPort, tcpPort] = [await freePort(), await freePort()];
  await writeFile(join(dir, "libvirtd.conf"), daemonConfig({ config, pki, tcp, tlsPort, tcpPort }));
  const mounts = Object.entries(binds).map(([target, source]) => `mount --bind ${source} ${target}`);
  const listen = pki !== undefined || tcp ? "--listen" : "";
  const script = [...mounts, `exec libvirtd --config ${dir}/libvirtd.conf --pid-file ${dir}/pid ${listen}`].join(" && ");
  const child = spawn("unshare", ["--mount", "sh", "-c", script], { stdio: ["ignore", "ignore", "pipe"] });
  stack.defer(() => stopProcess(child));
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const socket = join(binds["/run/libvirt"]!, "libvirt-sock");
  const dead = (): string | undefined => (child.exitCode === null ? undefined : log);
  await waitForListener(socket, dead);
  if (pki !== undefined) await waitForListener(tlsPort, dead);
  if (tcp) await waitForListener(tcpPort, dead);
  const owned = stack.move();
  return { dir, pid: child.pid!, socket, tlsPort, tcpPort, log: () => log, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

interface DaemonSettings {
  readonly config: string;
  readonly pki: string | undefined;
  readonly tcp: boolean;
  readonly tlsPort: number;
  readonly tcpPort: number;
}

function daemonConfig({ config, pki, tcp, tlsPort, tcpPort }: DaemonSettings): string {
  const tls =
    pki === undefined
      ? "listen_tls = 0"
      : `listen_tls = 1\nkey_file = "${pki}/serverkey.pem"\ncert_file = "${pki}/servercert.pem"\nca_file = "${pki}/cacert.pem"\ntls_no_sanity_certificate = 1`;
  return `listen_addr = "127.0.0.1"
tls_port = "${tlsPort}"
tcp_port = "${tcpPort}"
listen_tcp = ${tcp ? 1 : 0}
${tls}
${config.includes("auth_unix_rw") ? "" : 'auth_unix_rw = "none"'}
${config.includes("auth_tcp") ? "" : 'auth_tcp = "none"'}
unix_sock_group = "root"
${config}
`;
}

async function prepareSasl(dir: string, into: string, mechanisms: readonly string[]): Promise<void> {
  const db = join(dir, "sasldb2");
  await writeFile(
    join(into, "libvirt.conf"),
    `mech_list: ${mechanisms.join(" ")}\nsasldb_path: ${db}\npwcheck_method: auxprop\nauxprop_plugin: sasldb\n`,
  );
  const child = spawn("saslpasswd2", ["-p", "-c", "-f", db, "-a", "libvirt", "-u", (await run("hostname")).stdout.trim(), "godwit"], {
    stdio: ["pipe", "ignore", "inherit"],
  });
  child.stdin.end(password);
  const code = await new Promise((resolve) => child.once("exit", resolve));
  if (code !== 0) throw new Error(`saslpasswd2 failed: ${String(code)}`);
}
