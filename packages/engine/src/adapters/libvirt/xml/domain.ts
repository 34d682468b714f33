import { type CpuXml, readCpu } from "./cpu.ts";
import { type DiskXml, readDisk, readPciAddress } from "./disk.ts";
import { parseDocument, type XmlElement } from "./document.ts";

export interface NicXml {
  readonly mac: string;
  readonly type: string;
  readonly model?: string | undefined;
  /** The bridge, libvirt network, device or PCI address that it is plugged into. */
  readonly source?: string | undefined;
  readonly portGroup?: string | undefined;
  /** A device of the host is given to the guest: it cannot move. */
  readonly passthrough: boolean;
}

export interface HostDeviceXml {
  /** `pci`, `usb`, `scsi`, `mdev`, `scsi_host`… */
  readonly type: string;
  readonly managed: boolean;
  /** What it is, for people. */
  readonly text: string;
}

export interface FirmwareXml {
  readonly kind: "bios" | "efi";
  readonly loader?: string | undefined;
  readonly secure: boolean;
  readonly nvram?: string | undefined;
  readonly nvramTemplate?: string | undefined;
}

/** What Godwit reads of a domain's definition. Sizes in bytes. */
export interface TpmXml {
  readonly model?: string | undefined;
  readonly backend: string;
  readonly persistent: boolean;
  /** libvirt's secret that its state is encrypted with. */
  readonly secret?: string | undefined;
}

export interface DomainXml {
  /** `kvm`, `qemu`, `test`… */
  readonly type: string;
  readonly uuid: string;
  readonly name: string;
  readonly title?: string | undefined;
  readonly memoryBytes: number;
  readonly currentMemoryBytes: number;
  /** Online at the moment, or at the next start. */
  readonly vcpus: number;
  readonly maximumVcpus: number;
  readonly arch?: string | undefined;
  readonly machine?: string | undefined;
  readonly firmware: FirmwareXml;
  readonly cpu: CpuXml;
  readonly emulator?: string | undefined;
  readonly hugepages: boolean;
  readonly disks: readonly DiskXml[];
  readonly nics: readonly NicXml[];
  readonly hostDevices: readonly HostDeviceXml[];
  /** Tags of the host's folders that the guest mounts. */
  readonly filesystems: readonly { readonly driver?: string | undefined; readonly source?: string | undefined; readonly target: string }[];
  readonly tpms: readonly TpmXml[];
  /** Names of shared memory devices. */
  readonly sharedMemory: readonly string[];
  readonly launchSecurity?: string | undefined;
  readonly agent: "connected" | "disconnected" | "none";
  readonly generationId: boolean;
}

/** Reads `<domain>`, live or inactive. Throws `XmlError`; never anything else. */
export function parseDomain(text: string): DomainXml {
  const domain = parseDocument(text, "domain");
  const devices = domain.child("devices");
  const all = (name: string): XmlElement[] => devices?.children(name) ?? [];
  const memory = domain.need("memory").bytes("KiB");
  const vcpu = domain.child("vcpu");
  const type = domain.child("os", "type");
  return {
    type: domain.attribute("type") ?? "unknown",
    uuid: domain.needText("uuid").toLowerCase(),
    name: domain.needText("name"),
    title: domain.textOf("title"),
    memoryBytes: memory,
    currentMemoryBytes: domain.child("currentMemory")?.bytes("KiB") ?? memory,
    vcpus: currentVcpus(vcpu),
    maximumVcpus: vcpu?.count ?? 1,
    arch: type?.attribute("arch"),
    machine: type?.attribute("machine"),
    firmware: readFirmware(domain.child("os")),
    cpu: readCpu(domain.child("cpu")),
    emulator: devices?.textOf("emulator"),
    hugepages: domain.child("memoryBacking", "hugepages") !== undefined,
    disks: all("disk").flatMap((disk) => readDisk(disk) ?? []),
    nics: all("interface").map(readNic),
    hostDevices: all("hostdev").map(readHostDevice),
    filesystems: all("filesystem").map(readFilesystem),
    tpms: all("tpm").map(readTpm),
    sharedMemory: all("shmem").map((shmem) => shmem.attribute("name") ?? "shmem"),
    launchSecurity: domain.child("launchSecurity")?.attribute("type"),
    generationId: domain.has("genid"),
    agent: readAgent(all("channel")),
  };
}

function currentVcpus(vcpu: XmlElement | undefined): number {
  const current = vcpu?.attribute("current");
  return current !== undefined && /^\d{1,6}$/.test(current) ? Number(current) : (vcpu?.count ?? 1);
}

function readFirmware(os: XmlElement | undefined): FirmwareXml {
  const loader = os?.child("loader");
  const nvram = os?.child("nvram");
  const efi = os?.attribute("firmware") === "efi" || loader?.attribute("type") === "pflash" || nvram !== undefined;
  const written = nvram?.child("source")?.attribute("file") ?? nvram?.text;
  return {
    kind: efi ? "efi" : "bios",
    loader: loader?.text || undefined,
    secure: loader?.attribute("secure") === "yes",
    nvram: written || undefined,
    nvramTemplate: nvram?.attribute("template"),
  };
}

function readNic(nic: XmlElement): NicXml {
  const type = nic.attribute("type") ?? "unknown";
  const source = nic.child("source");
  const address = source?.child("address");
  const named = ["bridge", "network", "dev", "path"].map((name) => source?.attribute(name)).find((value) => value !== undefined);
  return {
    mac: nic.child("mac")?.attribute("address")?.toLowerCase() ?? "",
    type,
    model: nic.child("model")?.attribute("type"),
    source: named ?? (address && readPciAddress(address)),
    portGroup: source?.attribute("portgroup"),
    passthrough: type === "hostdev" || (type === "direct" && source?.attribute("mode") === "passthrough"),
  };
}

function readHostDevice(device: XmlElement): HostDeviceXml {
  const type = device.attribute("type") ?? device.attribute("mode") ?? "unknown";
  const source = device.child("source");
  const address = source?.child("address");
  const ids = ["vendor", "product"].flatMap((name) => source?.child(name)?.attribute("id") ?? []);
  const named =
    (address && (readPciAddress(address) ?? address.attribute("uuid"))) ??
    source?.child("adapter")?.attribute("name") ??
    source?.attribute("wwpn");
  const where = named ?? ids.join(":");
  return { type, managed: device.attribute("managed") === "yes", text: where === "" ? type : `${type} ${where}` };
}

function readFilesystem(filesystem: XmlElement): DomainXml["filesystems"][number] {
  const source = filesystem.child("source");
  return {
    driver: filesystem.child("driver")?.attribute("type"),
    source: source?.attribute("dir") ?? source?.attribute("file") ?? source?.attribute("dev") ?? source?.attribute("socket"),
    target: filesystem.child("target")?.attribute("dir") ?? "",
  };
}

function readTpm(tpm: XmlElement): DomainXml["tpms"][number] {
  const backend = tpm.child("backend");
  return {
    model: tpm.attribute("model"),
    backend: backend?.attribute("type") ?? "unknown",
    persistent: backend?.attribute("persistent_state") === "yes",
    secret: backend?.child("encryption")?.attribute("secret"),
  };
}

/** libvirt keeps the state of the guest's end of the channel in the live definition. */
function readAgent(channels: readonly XmlElement[]): DomainXml["agent"] {
  const targets = channels.flatMap((channel) => channel.child("target") ?? []);
  const agent = targets.find((target) => target.attribute("name") === "org.qemu.guest_agent.0");
  if (!agent) return "none";
  return agent.attribute("state") === "connected" ? "connected" : "disconnected";
}
