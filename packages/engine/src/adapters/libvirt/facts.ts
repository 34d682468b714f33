import { BaselineCpuFlags, type Connection, type NodeGetInfoResult, NodeMemoryStatsAll } from "@godwit/libvirt";
import type { Acceleration, HostFacts } from "../../model/host.ts";
import { CpuTime } from "./cpu-time.ts";
import { orElse } from "./errors.ts";
import { type CapabilitiesXml, type CpuXml, type GuestXml, parseCapabilities, parseCpu, parseDomainCapabilities } from "./xml/index.ts";

/** What only a shell can tell; it comes when it comes. */
export interface ShellFacts {
  readonly acceleration: Acceleration;
  readonly kernel?: string | undefined;
  readonly os?: string | undefined;
}

/** What stays as it is while a connection lasts, or changes with the text that it was read from. */
export class FactsReader {
  readonly #connection: Connection;
  #capabilities: { readonly text: string; readonly parsed: CapabilitiesXml } | undefined;
  readonly #features = new Map<string, string[]>();
  readonly #cpuTime = new CpuTime();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Parsed anew only when the text differs: libvirt's may be large. */
  async capabilities(signal: AbortSignal): Promise<CapabilitiesXml> {
    const text = await this.#connection.remote.connectGetCapabilities({ signal });
    if (this.#capabilities?.text !== text) {
      this.#capabilities = { text, parsed: parseCapabilities(text) };
      this.#features.clear();
    }
    return this.#capabilities.parsed;
  }

  async read(uuid: string, shell: ShellFacts, signal: AbortSignal): Promise<HostFacts> {
    const { remote } = this.#connection;
    const capabilities = await this.capabilities(signal);
    const [hostname, node, libvirt, hypervisor, type, freeMemoryBytes, busy, features] = await Promise.all([
      remote.connectGetHostname({ signal }),
      remote.nodeGetInfo({ signal }),
      orElse(remote.connectGetLibVersion({ signal }), undefined),
      orElse(remote.connectGetVersion({ signal }), undefined),
      orElse(remote.connectGetType({ signal }), "hypervisor"),
      this.#freeMemory(signal),
      this.#cpuTime.busy(this.#connection, signal),
      this.#guestFeatures(capabilities, shell.acceleration.kind === "kvm" ? "kvm" : "qemu", signal),
    ]);
    const guest = nativeGuest(capabilities);
    return {
      hostname,
      uuid,
      cpu: {
        arch: capabilities.arch,
        vendor: capabilities.cpuVendor,
        model: capabilities.cpuModel,
        features,
        ...topology(node),
        mhz: node.mhz > 0 ? node.mhz : undefined,
        busy,
      },
      memoryBytes: Number(node.memory) * 1024,
      freeMemoryBytes,
      versions: {
        libvirt: libvirt === undefined ? "unknown" : versionText(libvirt),
        hypervisor: hypervisor === undefined ? undefined : `${type} ${versionText(hypervisor)}`,
        kernel: shell.kernel,
        os: shell.os,
      },
      capabilities: {
        machines: [...(guest?.machines ?? [])],
        domainTypes: [...(guest?.domainTypes ?? [])],
        migrationTransports: [...capabilities.migrationTransports],
        live: capabilities.live,
      },
      acceleration: shell.acceleration,
    };
  }

  /** What guests can be given without swapping: free memory and what the page cache would give back. */
  async #freeMemory(signal: AbortSignal): Promise<number | undefined> {
    const { remote } = this.#connection;
    const cellNum = NodeMemoryStatsAll.ALL_CELLS;
    const size = await orElse(remote.nodeGetMemoryStats({ nparams: 0, cellNum, flags: 0 }, { signal }), undefined);
    const stats = size && (await orElse(remote.nodeGetMemoryStats({ nparams: size.nparams, cellNum, flags: 0 }, { signal }), undefined));
    const kib = stats?.params.filter(({ field }) => ["free", "buffers", "cached"].includes(field)).map(({ value }) => Number(value));
    if (kib && kib.length > 0) return kib.reduce((sum, value) => sum + value, 0) * 1024;
    const free = await orElse(remote.nodeGetFreeMemory({ signal }), undefined);
    return free === undefined ? undefined : Number(free);
  }

  /**
   * The CPU features that the host can give its guests: libvirt's `host-model` of the domain type that guests here
   * should have, expanded; without domain capabilities, what the host's own processor is said to have.
   */
  async #guestFeatures(capabilities: CapabilitiesXml, type: "kvm" | "qemu", signal: AbortSignal): Promise<string[]> {
    const known = this.#features.get(type);
    if (known) return known;
    const features = (await this.#expanded(capabilities.arch, type, signal)) ?? [...capabilities.cpuFeatures];
    this.#features.set(type, features.sort());
    return features;
  }

  async #expanded(arch: string, virttype: string, signal: AbortSignal): Promise<string[] | undefined> {
    const { remote } = this.#connection;
    const query = { arch, machine: null, virttype };
    const text = await orElse(remote.connectGetDomainCapabilities({ ...query, emulatorbin: null, flags: 0 }, { signal }), undefined);
    const model = text === undefined ? undefined : parseDomainCapabilities(text).hostModel;
    if (model?.model === undefined) return undefined;
    const baseline = remote.connectBaselineHypervisorCpu(
      { ...query, emulator: null, xmlCPUs: [cpuDocument(model)], flags: BaselineCpuFlags.EXPAND_FEATURES },
      { signal },
    );
    const expanded = await orElse(baseline, undefined);
    return given(expanded === undefined ? model : parseCpu(expanded));
  }
}

/** Of guests with the host's own instruction set. */
export function nativeGuest({ arch, guests }: CapabilitiesXml): GuestXml | undefined {
  return guests.find((guest) => guest.arch === arch && guest.osType === "hvm") ?? guests.find((guest) => guest.arch === arch);
}

/** Features that a guest with this CPU sees. */
export function given(cpu: CpuXml): string[] {
  return cpu.features.filter(({ policy }) => policy === "require" || policy === "force").map(({ name }) => name);
}

/** A `<cpu>` document of just this. */
export function cpuDocument({ model = "", vendor, features }: CpuXml): string {
  const parts = features.map(({ name, policy }) => `<feature policy='${escape(policy)}' name='${escape(name)}'/>`);
  const made = vendor === undefined ? "" : `<vendor>${escape(vendor)}</vendor>`;
  return `<cpu mode='custom' match='exact'><model fallback='forbid'>${escape(model)}</model>${made}${parts.join("")}</cpu>`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("'", "&apos;");
}

/** libvirt counts sockets in each NUMA node; where that makes no sense it says one node and puts all into it. */
function topology(node: NodeGetInfoResult): Pick<HostFacts["cpu"], "count" | "sockets" | "cores" | "threads"> {
  return { count: node.cpus, sockets: Math.max(1, node.nodes) * node.sockets, cores: node.cores, threads: node.threads };
}

/** libvirt's 1,000,000 × major + 1,000 × minor + release. */
function versionText(version: bigint): string {
  return [version / 1_000_000n, (version / 1000n) % 1000n, version % 1000n].join(".");
}
