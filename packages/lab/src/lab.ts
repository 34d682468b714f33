import { type LabNetwork, type NetworkName, uplinkAddress } from "./addresses.ts";
import { LabError } from "./error.ts";
import { LabFaults } from "./faults.ts";
import { createGuest, type GuestOptions, readGuests } from "./guest/create.ts";
import type { GuestRecord } from "./guest/definition.ts";
import { LabGuest } from "./guest/guest.ts";
import { LabHost } from "./host.ts";
import type { HostIdentity } from "./host-files.ts";
import type { Lifetime } from "./keeper.ts";
import { LabNamespace } from "./lab-namespace.ts";
import { labDir, labPaths, type LabPaths } from "./paths.ts";
import { sshAccess, type SshAccess } from "./ssh-keys.ts";

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
  readonly faults: LabFaults;
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
    this.faults = new LabFaults(this);
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
