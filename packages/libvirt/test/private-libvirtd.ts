import { spawn } from "node:child_process";
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, stopProcess, waitForListener } from "./ssh-fixture.ts";

export interface PrivateLibvirtd extends AsyncDisposable {
  readonly directory: string;
  readonly socket: string;
  readonly tcpPort: number;
  readonly pid: number;
  /** Writes a file that the daemon can read, and returns its path. */
  file(name: string, text: string): string;
  /** Makes a directory that the daemon can write to, and returns its path. */
  directoryFor(name: string): string;
  /** Makes a file of ours the daemon's and its guests'. */
  own(path: string): void;
  /** Stops (SIGSTOP) or continues the daemon: a peer that is there and says nothing. */
  freeze(frozen: boolean): void;
}

const nobody = 65_534;

/** What `test:///FILE` opens: a node with `count` running domains, vm0 to vmN. */
export function testDriverXml(count: number): string {
  const domain = (index: number): string =>
    `<domain type='test'><name>vm${index}</name><memory>1048576</memory><vcpu>2</vcpu><os><type>hvm</type></os><devices>` +
    `<disk type='file' device='disk'><source file='/vm/${index}.qcow2'/><target dev='vda' bus='virtio'/></disk>` +
    `<interface type='network'><source network='default'/></interface></devices></domain>`;
  return `<node>${Array.from({ length: count }, (_, index) => domain(index)).join("\n")}</node>`;
}

/**
 * A libvirtd of our own: unprivileged, with directories, sockets and a port that no other daemon has. It
 * needs root only to become somebody else, and Debian's libvirt-daemon with its QEMU driver.
 */
export async function startLibvirtd(settings: Readonly<Record<string, string | number>> = {}): Promise<PrivateLibvirtd> {
  const directory = mkdtempSync(join(tmpdir(), "lv-"));
  const port = await freePort();
  const config = { listen_tcp: 1, listen_tls: 0, listen_addr: "127.0.0.1", tcp_port: String(port), auth_tcp: "none", ...settings };
  writeFileSync(
    join(directory, "libvirtd.conf"),
    Object.entries(config)
      .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
      .join(""),
  );
  for (const name of ["run", "home", "cache", "config", "data"]) mkdirSync(join(directory, name));
  const identity = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};
  for (const name of ["", "run", "home", "cache", "config", "data", "libvirtd.conf"]) {
    if (identity.uid !== undefined) chownSync(join(directory, name), nobody, nobody);
  }
  const env = {
    PATH: process.env["PATH"],
    HOME: join(directory, "home"),
    XDG_RUNTIME_DIR: join(directory, "run"),
    XDG_CACHE_HOME: join(directory, "cache"),
    XDG_CONFIG_HOME: join(directory, "config"),
    XDG_DATA_HOME: join(directory, "data"),
    LIBVIRT_LOG_OUTPUTS: `3:file:${join(directory, "libvirtd.log")}`,
  };
  const args = ["--listen", "--config", join(directory, "libvirtd.conf"), "--pid-file", join(directory, "libvirtd.pid")];
  const child = spawn("/usr/sbin/libvirtd", args, { env, stdio: "ignore", cwd: directory, ...identity });
  const socket = join(directory, "run/libvirt/libvirt-sock");
  const log = join(directory, "libvirtd.log");
  const told = (): string => (existsSync(log) ? readFileSync(log, "utf8") : "no log");
  await waitForListener(socket, () => (child.exitCode === null ? undefined : told()));
  return {
    directory,
    socket,
    tcpPort: port,
    pid: child.pid!,
    file(name, text) {
      const path = join(directory, name);
      writeFileSync(path, text, { mode: 0o644 });
      return path;
    },
    directoryFor(name) {
      const path = join(directory, name);
      mkdirSync(path);
      if (process.getuid?.() === 0) chownSync(path, nobody, nobody);
      return path;
    },
    own(path) {
      if (process.getuid?.() === 0) chownSync(path, nobody, nobody);
    },
    freeze: (frozen) => void child.kill(frozen ? "SIGSTOP" : "SIGCONT"),
    async [Symbol.asyncDispose]() {
      child.kill("SIGCONT");
      await stopProcess(child);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
