import { type CpuXml, readCpu } from "./cpu.ts";
import { parseDocument, type XmlElement } from "./document.ts";

/** One kind of guest that the host's emulators can run. */
export interface GuestXml {
  readonly osType: string;
  readonly arch: string;
  readonly emulator?: string | undefined;
  /** Names and aliases. */
  readonly machines: readonly string[];
  /** `kvm`, `qemu`… */
  readonly domainTypes: readonly string[];
}

export interface CapabilitiesXml {
  /** The test driver has none. */
  readonly uuid?: string | undefined;
  readonly arch: string;
  readonly cpuModel?: string | undefined;
  readonly cpuVendor?: string | undefined;
  readonly cpuFeatures: readonly string[];
  readonly live: boolean;
  readonly migrationTransports: readonly string[];
  readonly guests: readonly GuestXml[];
}

/** Reads `<capabilities>`. Throws `XmlError`; never anything else. */
export function parseCapabilities(text: string): CapabilitiesXml {
  const root = parseDocument(text, "capabilities");
  const host = root.need("host");
  const cpu = host.child("cpu");
  const migration = host.child("migration_features");
  return {
    uuid: host.textOf("uuid")?.toLowerCase(),
    arch: cpu?.textOf("arch") ?? "unknown",
    cpuModel: cpu?.textOf("model"),
    cpuVendor: cpu?.textOf("vendor"),
    cpuFeatures: cpu?.children("feature").flatMap((feature) => feature.attribute("name") ?? []) ?? [],
    live: migration?.has("live") ?? false,
    migrationTransports: texts(migration?.child("uri_transports")?.children("uri_transport")),
    guests: root.children("guest").flatMap(readGuest),
  };
}

function readGuest(guest: XmlElement): GuestXml[] {
  const osType = guest.textOf("os_type") ?? "unknown";
  return guest.children("arch").map((arch) => {
    const domains = arch.children("domain");
    // A domain type may have an emulator and machines of its own beside the common ones.
    const machines = [arch, ...domains].flatMap((element) => texts(element.children("machine")));
    return {
      osType,
      arch: arch.attribute("name") ?? "unknown",
      emulator: arch.textOf("emulator"),
      machines: [...new Set(machines)],
      domainTypes: domains.flatMap((domain) => domain.attribute("type") ?? []),
    };
  });
}

export interface DomainCapabilitiesXml {
  readonly emulator: string;
  readonly domainType: string;
  readonly machine?: string | undefined;
  readonly arch: string;
  readonly maximumVcpus?: number | undefined;
  /** Modes of `<cpu>` that a domain may ask for. */
  readonly cpuModes: readonly string[];
  /** What `host-model` stands for; as libvirt abbreviates it, a model and what differs. */
  readonly hostModel?: CpuXml | undefined;
  readonly usableModels: readonly string[];
  readonly backup: boolean;
  /** What TPMs may be made of: `emulator` only where swtpm is installed. */
  readonly tpmBackends: readonly string[];
}

/** Reads `<domainCapabilities>`. Throws `XmlError`; never anything else. */
export function parseDomainCapabilities(text: string): DomainCapabilitiesXml {
  const root = parseDocument(text, "domainCapabilities");
  const supported = (root.child("cpu")?.children("mode") ?? []).filter((mode) => mode.attribute("supported") === "yes");
  const mode = (name: string): XmlElement | undefined => supported.find((candidate) => candidate.attribute("name") === name);
  const hostModel = mode("host-model");
  const vcpus = root.child("vcpu")?.attribute("max");
  return {
    emulator: root.needText("path"),
    domainType: root.needText("domain"),
    machine: root.textOf("machine"),
    arch: root.needText("arch"),
    maximumVcpus: vcpus !== undefined && /^\d{1,9}$/.test(vcpus) ? Number(vcpus) : undefined,
    cpuModes: supported.flatMap((candidate) => candidate.attribute("name") ?? []),
    hostModel: hostModel && { ...readCpu(hostModel), mode: "custom" },
    usableModels: texts(
      mode("custom")
        ?.children("model")
        .filter((model) => model.attribute("usable") === "yes"),
    ),
    backup: root.child("features", "backup")?.attribute("supported") === "yes",
    tpmBackends: texts(
      (root.child("devices", "tpm")?.children("enum") ?? [])
        .filter((one) => one.attribute("name") === "backendModel")
        .flatMap((one) => one.children("value")),
    ),
  };
}

/** Reads a `<cpu>` document, such as a baseline. */
export function parseCpu(text: string): CpuXml {
  return readCpu(parseDocument(text, "cpu"));
}

function texts(elements: readonly XmlElement[] | undefined): string[] {
  return (elements ?? []).map((element) => element.text).filter((text) => text !== "");
}
