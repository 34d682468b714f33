import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { withDeadline } from "@godwit/core";
import { hostAddress, type LabNetwork, type NetworkName, portName } from "./addresses.ts";
import { LabError } from "./error.ts";
import { fullName, type HostIdentity, type LabFacts } from "./host-files.ts";
import { findInit, isInit } from "./init-process.ts";
import type { LabNamespace } from "./lab-namespace.ts";
import { type LabPaths, script } from "./paths.ts";
import { cleanEnv, run, saysLine, type RunOptions, type RunResult } from "./process.ts";
import { hostBatches } from "./switch.ts";

/** A host of the lab: everything a libvirt host is, as far as those who talk to it can see. */
export class LabHost {
  readonly name: string;
  /** `alpha.lab0` */
  readonly fullName: string;
  readonly uuid: string;
  /** IPv4, by network. */
  readonly addresses: Readonly<Record<NetworkName, string>>;
  /** IPv6, for the networks that have it. */
  readonly addresses6: Readonly<Partial<Record<NetworkName, string>>>;
  /** The names of the host's own interfaces. */
  readonly interfaces: Readonly<Record<NetworkName, string>>;
  /** libvirtd's socket as the machine's own processes can reach it. */
  readonly libvirtSocket: string;
  /** The host's `/var/log/libvirt`, from the machine. */
  readonly logDir: string;
  /** The size of its `local` pool. */
  readonly localStorageMiB: number;
  readonly #identity: HostIdentity;
  readonly #networks: readonly LabNetwork[];
  readonly #paths: LabPaths;
  readonly #namespace: LabNamespace;
  #init: number | undefined;

  constructor(
    identity: HostIdentity,
    lab: { readonly facts: LabFacts; readonly paths: LabPaths; readonly namespace: LabNamespace; readonly localStorageMiB: number },
  ) {
    const byNetwork = <T>(value: (network: LabNetwork) => T): Record<NetworkName, T> =>
      Object.fromEntries(lab.facts.networks.map((network) => [network.name, value(network)])) as Record<NetworkName, T>;
    this.name = identity.name;
    this.fullName = fullName(lab.facts, identity);
    this.uuid = identity.uuid;
    this.addresses = byNetwork((network) => hostAddress(network, identity.index).ipv4);
    this.addresses6 = Object.fromEntries(
      Object.entries(byNetwork((network) => hostAddress(network, identity.index).ipv6)).filter(([, address]) => address !== undefined),
    );
    this.interfaces = byNetwork((network) => network.interface);
    const own = lab.paths.host(identity.name);
    this.libvirtSocket = join(own, "run/libvirt/libvirt-sock");
    this.logDir = join(own, "log");
    this.#identity = identity;
    this.#networks = lab.facts.networks;
    this.#paths = lab.paths;
    this.#namespace = lab.namespace;
    this.localStorageMiB = lab.localStorageMiB;
  }

  /** The pid of the host's init as the machine sees it; undefined: the host is down. */
  get initPid(): number | undefined {
    const wanted = [script("host-init.sh"), [this.#paths.dir, this.name]] as const;
    if (this.#init === undefined || !isInit(this.#init, ...wanted)) this.#init = findInit(...wanted);
    return this.#init;
  }

  get isUp(): boolean {
    return this.initPid !== undefined;
  }

  /** Runs a command on the host, as root in its namespaces, to its end; see {@link run} for what it throws. */
  async exec(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    // Killing nsenter must kill what it started, too.
    return run([...this.enter(), "setpriv", "--pdeathsig", "KILL", "--", ...argv], options);
  }

  /** The words before a command that make it run on this host; throws `not-found` when the host is down. */
  enter(): string[] {
    const pid = this.initPid;
    if (pid === undefined) throw new LabError("not-found", `host ${this.name} is down: boot it first`, { host: this.name });
    return ["nsenter", "--target", String(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--wd=/", "--"];
  }

  /** A file of the host as the machine's own processes can open it, while the host is up. */
  path(onHost: string): string {
    const pid = this.initPid;
    if (pid === undefined) throw new LabError("not-found", `host ${this.name} is down: its files cannot be seen`, { host: this.name });
    return `/proc/${pid}/root${onHost}`;
  }

  /** Runs virsh on the host's own system connection. */
  virsh(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.exec(["virsh", "--quiet", "--connect", "qemu:///system", ...args], options);
  }

  /** Defines a domain there from its XML. */
  async define(xml: string, options: RunOptions = {}): Promise<void> {
    // virsh opens its standard input by name, which works for a pipe and not for our socket.
    const command = "cat | virsh --quiet --connect qemu:///system define --validate /dev/stdin";
    await this.exec(["bash", "-o", "pipefail", "-euc", command], { ...options, input: xml });
  }

  /** What runs there now, by name and pid as the host sees it. */
  async pids(): Promise<{ readonly libvirtd: number | undefined; readonly sshd: number | undefined }> {
    const read = async (file: string): Promise<number | undefined> => {
      const text = await readFile(join(this.#paths.host(this.name), "run", file), "utf8").catch(() => "");
      const pid = Number(text.trim());
      if (text.trim() === "" || !Number.isInteger(pid)) return undefined;
      const alive = await this.exec(["test", "-e", `/proc/${pid}`], { check: false });
      return alive.code === 0 ? pid : undefined;
    };
    return { libvirtd: await read("libvirtd.pid"), sshd: await read("sshd.pid") };
  }

  /** Plugs the host in and starts it; resolves when sshd and libvirtd accept connections. */
  async boot(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.isUp) throw new LabError("exists", `host ${this.name} is up already`, { host: this.name });
    await this.#plugIn(options.signal);
    const timedOut = (): Error => new LabError("timeout", `host ${this.name} did not start within 30 s: see ${this.logDir}/init.log`);
    await withDeadline(30_000, timedOut, options.signal, (signal) => this.#startInit(signal));
    await this.virsh(["uri"], { signal: options.signal, timeoutMs: 30_000 });
  }

  async #plugIn(signal: AbortSignal | undefined): Promise<void> {
    // What a crash left: a namespace's interfaces vanish some time after it, their ports with them.
    for (const network of this.#networks) {
      await this.#namespace.run(["ip", "-n", "switch", "link", "delete", portName(this.name, network.name)], { signal, check: false });
    }
    await this.#namespace.run(["ip", "netns", "delete", this.name], { signal, check: false });
    await this.#namespace.run(["ip", "netns", "add", this.name], { signal });
    await this.#namespace.batches(hostBatches(this.#identity, this.#networks), signal);
  }

  async #startInit(signal: AbortSignal): Promise<void> {
    const argv = this.#namespace.enter(["bash", script("host-boot.sh"), this.#paths.dir, this.name, String(this.localStorageMiB)]);
    const child = spawn(argv[0]!, argv.slice(1), { env: cleanEnv, cwd: "/", stdio: ["ignore", "pipe", "ignore"] });
    if (await saysLine(child.stdout, "ready", signal)) return;
    throw new LabError("failed", `host ${this.name} did not start: ${await this.#lastWords()}`, { host: this.name });
  }

  async #lastWords(): Promise<string> {
    const logs = ["init.log", "libvirtd.log", "sshd.log"].map((name) => readFile(join(this.logDir, name), "utf8").catch(() => ""));
    return (await Promise.all(logs))
      .flatMap((log) => log.trim().split("\n").slice(-3))
      .filter(Boolean)
      .join("; ");
  }
}
