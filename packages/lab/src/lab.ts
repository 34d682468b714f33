import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { dirname, join } from "node:path";
import { CancelledError } from "@godwit/core";
import { hostNames, labNetworks, type LabNetwork, type NetworkName, type NetworkOptions, uplinkAddress } from "./addresses.ts";
import { writeCertificates } from "./certificates.ts";
import { LabError } from "./error.ts";
import { createGuest, type GuestOptions, readGuests } from "./guest/create.ts";
import type { GuestRecord } from "./guest/definition.ts";
import { LabGuest } from "./guest/guest.ts";
import { LabHost } from "./host.ts";
import { etcFiles, type EtcFile, type HostIdentity, type LabFacts, type SshdProgram } from "./host-files.ts";
import { type Claim, claimLab, labIndexes, type Lifetime } from "./keeper.ts";
import { LabNamespace } from "./lab-namespace.ts";
import { labDir, labPaths, type LabPaths } from "./paths.ts";
import { findSshd } from "./sshd.ts";
import { sshAccess, type SshAccess, writeSshKeys } from "./ssh-keys.ts";
import { switchBatches } from "./switch.ts";

export interface LabOptions {
  /** How many hosts; default 3. */
  readonly hosts?: number;
  /** Default `lab<number>`. */
  readonly name?: string | undefined;
  readonly networks?: Partial<Record<NetworkName, NetworkOptions>>;
  /** The size of each host's `local` pool, which takes memory as it fills. Default 4096. */
  readonly localStorageMiB?: number;
  /** Cancels the start; it does not end a lab that is up. */
  readonly signal?: AbortSignal | undefined;
}

/** What is written down about a lab, so that other processes can use it. */
export interface LabRecord {
  readonly version: 1;
  readonly id: string;
  readonly index: number;
  readonly created: string;
  readonly lifetime: Lifetime;
  readonly localStorageMiB: number;
  readonly networks: readonly LabNetwork[];
  readonly hosts: readonly HostIdentity[];
}

/**
 * Real libvirt hosts on this machine. A lab that was started by {@link startLab} ends when it is
 * disposed, and in any case with the process; one that was opened is left as it is.
 */
export class Lab implements AsyncDisposable {
  readonly id: string;
  readonly dir: string;
  readonly index: number;
  readonly hosts: readonly LabHost[];
  readonly networks: readonly LabNetwork[];
  readonly ssh: SshAccess;
  /** A folder with `cacert.pem`, `clientcert.pem` and `clientkey.pem`: the `pkipath` of a `qemu+tls` URI. */
  readonly pkiPath: string;
  /** What is `/srv/shared` on every host. */
  readonly sharedDir: string;
  /** The machine's own address on the management network: where hosts reach a Godwit that runs here. */
  readonly address: string;
  readonly paths: LabPaths;
  readonly namespace: LabNamespace;
  readonly #release: () => Promise<void>;

  constructor(record: LabRecord, release: () => Promise<void> = async () => undefined) {
    this.id = record.id;
    this.index = record.index;
    this.dir = labDir(record.index);
    this.networks = record.networks;
    this.paths = labPaths(this.dir);
    this.namespace = new LabNamespace(this.dir);
    const { localStorageMiB } = record;
    const shared = { facts: record, paths: this.paths, namespace: this.namespace, localStorageMiB };
    this.hosts = record.hosts.map((host) => new LabHost(host, shared));
    this.ssh = sshAccess(this.paths.client);
    this.pkiPath = this.paths.client;
    this.sharedDir = this.paths.shared;
    this.address = uplinkAddress(this.network("management")).ipv4;
    this.#release = release;
  }

  /** The host of that name; throws `not-found`. */
  host(name: string): LabHost {
    const host = this.hosts.find((candidate) => candidate.name === name);
    if (!host) throw new LabError("not-found", `no host ${name} in lab ${this.id}: it has ${this.hosts.map((h) => h.name).join(", ")}`);
    return host;
  }

  network(name: NetworkName): LabNetwork {
    const network = this.networks.find((candidate) => candidate.name === name);
    if (!network) throw new LabError("not-found", `no network ${name} in lab ${this.id}`);
    return network;
  }

  /** How Godwit reaches a host as it would a stranger's server. */
  uri(host: LabHost): string {
    const query = `keyfile=${encodeURIComponent(this.ssh.keyFile)}&known_hosts=${encodeURIComponent(this.ssh.knownHostsFile)}`;
    return `qemu+ssh://root@${host.addresses.management}/system?${query}`;
  }

  /** The same over TLS, with the lab's client certificate. */
  tlsUri(host: LabHost): string {
    return `qemu+tls://${host.addresses.management}/system?pkipath=${encodeURIComponent(this.pkiPath)}`;
  }

  /** Past the network: libvirtd's socket itself. */
  socketUri(host: LabHost): string {
    return `qemu+unix:///system?socket=${encodeURIComponent(host.libvirtSocket)}`;
  }

  /** Makes a guest and defines it on its host; `start()` it yourself. */
  async createGuest(options: GuestOptions): Promise<LabGuest> {
    return this.#guest(await createGuest(this.paths, options));
  }

  /** Every guest that was created here, by any process. */
  async guests(): Promise<LabGuest[]> {
    return (await readGuests(this.paths)).map((record) => this.#guest(record));
  }

  #guest(record: GuestRecord): LabGuest {
    return new LabGuest(record, { hosts: this.hosts, acks: this.paths.acks, shared: this.sharedDir });
  }

  /** Ends the lab if it is ours; resolves when nothing of it is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#release();
  }
}

/** Starts a lab that lives as long as it is not disposed and this process runs. */
export function startLab(options: LabOptions = {}): Promise<Lab> {
  return createLab("owned", options);
}

/** Starts a lab that stays until `stopLab`. */
export function startDetachedLab(options: LabOptions = {}): Promise<Lab> {
  return createLab("detached", options);
}

/** A running lab that somebody else started, by its id. Rejects with `not-found`. */
export async function openLab(id: string): Promise<Lab> {
  const labs = await listLabs();
  const record = labs.find((lab) => lab.id === id);
  if (!record) {
    const others = labs.length === 0 ? "none runs" : `these run: ${labs.map((lab) => lab.id).join(", ")}`;
    throw new LabError("not-found", `no lab ${id}: ${others}`);
  }
  return new Lab(record);
}

/** Every lab that is up on this machine. */
export async function listLabs(): Promise<LabRecord[]> {
  const texts = await Promise.all((await labIndexes()).map((index) => readFile(labPaths(labDir(index)).state, "utf8").catch(() => "")));
  return texts.filter((text) => text !== "").map((text) => JSON.parse(text) as LabRecord);
}

async function createLab(lifetime: Lifetime, options: LabOptions): Promise<Lab> {
  if (process.getuid?.() !== 0) throw new LabError("not-root", "the lab makes network namespaces and mounts: run it as root");
  const count = options.hosts ?? 3;
  if (!Number.isInteger(count) || count < 1 || count > hostNames.length) {
    throw new LabError("invalid", `a lab of ${count} hosts: must be 1 to ${hostNames.length}`);
  }
  await checkName(options.name);
  const signal = options.signal ?? new AbortController().signal;
  const sshd = await findSshd(signal);
  const claim = await claimLab(lifetime, signal);
  try {
    const record = recordOf(claim, lifetime, { ...options, hosts: count });
    const lab = new Lab(record, claim.release);
    await writeHostFiles(lab, record, sshd, signal);
    await lab.namespace.batches(switchBatches(claim.index, record.networks), signal);
    await bootAll(lab.hosts, signal);
    await writeFile(lab.paths.state, JSON.stringify(record, undefined, 2));
    return lab;
  } catch (error) {
    await claim.release();
    throw error;
  }
}

/** Boots all, and when one fails cancels the others and waits for them. */
async function bootAll(hosts: readonly LabHost[], signal: AbortSignal): Promise<void> {
  const failed = new AbortController();
  const all = AbortSignal.any([signal, failed.signal]);
  const booting = hosts.map((host) => host.boot({ signal: all }));
  for (const boot of booting) boot.catch(() => failed.abort(new CancelledError("another host did not boot")));
  try {
    await Promise.all(booting);
  } finally {
    await Promise.allSettled(booting);
  }
}

async function checkName(name: string | undefined): Promise<void> {
  if (name === undefined) return;
  if (!/^[a-z][a-z0-9-]{0,19}$/.test(name)) {
    throw new LabError("invalid", `'${name}' cannot name a lab: use up to 20 small letters, digits and hyphens, a letter first`);
  }
  if ((await listLabs()).some((lab) => lab.id === name)) {
    throw new LabError("exists", `lab ${name} is up already: take it down first (npm run lab -- down --name ${name})`);
  }
}

function recordOf(claim: Claim, lifetime: Lifetime, options: LabOptions & { readonly hosts: number }): LabRecord {
  return {
    version: 1,
    id: options.name ?? `lab${claim.index}`,
    index: claim.index,
    created: new Date().toISOString(),
    lifetime,
    localStorageMiB: options.localStorageMiB ?? 4096,
    networks: labNetworks(claim.index, options.networks),
    hosts: hostNames.slice(0, options.hosts).map((name, index) => ({ name, index, uuid: randomUUID() })),
  };
}

async function writeHostFiles(lab: Lab, facts: LabFacts, sshd: SshdProgram, signal: AbortSignal): Promise<void> {
  const { paths } = lab;
  const hostEtc = (host: string): string => join(paths.host(host), "etc");
  for (const path of [paths.shared, paths.acks, paths.guest, paths.guests, paths.client, paths.work]) await mkdir(path);
  for (const host of facts.hosts) {
    for (const folder of ["etc", "lib", "log", "run", "root"]) {
      await mkdir(join(paths.host(host.name), folder), { recursive: true, mode: folder === "root" ? 0o700 : 0o755 });
    }
  }
  const folders = { work: paths.work, client: paths.client, hostEtc };
  await Promise.all([writeSshKeys(facts, folders, signal), writeCertificates(facts, folders, signal)]);
  const ownSshd = await bringSshd(sshd, paths);
  for (const host of facts.hosts) {
    for (const file of etcFiles(facts, host, ownSshd)) await writeEtcFile(hostEtc(host.name), file);
  }
}

/** An unpacked sshd is copied into the lab, which outlives the cache and is seen by all hosts. */
async function bringSshd(sshd: SshdProgram, paths: LabPaths): Promise<SshdProgram> {
  if (sshd.libraryPath === undefined) return sshd;
  const cache = dirname(dirname(dirname(sshd.path)));
  const own = join(paths.dir, "sshd");
  await cp(cache, own, { recursive: true, verbatimSymlinks: true });
  return { path: sshd.path.replace(cache, own), libraryPath: sshd.libraryPath.replaceAll(cache, own) };
}

async function writeEtcFile(etc: string, file: EtcFile): Promise<void> {
  const path = join(etc, file.path);
  await mkdir(dirname(path), { recursive: true });
  if ("link" in file) await symlink(file.link, path);
  else await writeFile(path, file.text, { mode: file.mode ?? 0o644 });
}
