import type { XmlElement } from "./document.ts";

export interface SourceHost {
  readonly name?: string | undefined;
  readonly port?: string | undefined;
  readonly transport?: string | undefined;
  readonly socket?: string | undefined;
}

/** Where an image is. Which members are there depends on `type`. */
export interface DiskSource {
  /** `file`, `block`, `dir`, `volume`, `network`, `nvme`, `vhostuser`… */
  readonly type: string;
  /** Of file, block, dir and vhostuser. */
  readonly path?: string | undefined;
  readonly pool?: string | undefined;
  readonly volume?: string | undefined;
  readonly protocol?: string | undefined;
  /** Of network: the image or export. */
  readonly name?: string | undefined;
  readonly hosts: readonly SourceHost[];
  readonly pciAddress?: string | undefined;
  readonly format?: string | undefined;
  readonly encrypted: boolean;
}

export interface DiskXml {
  readonly target: string;
  readonly bus?: string | undefined;
  readonly device: "disk" | "cdrom" | "floppy" | "lun";
  /** Absent for an empty drive. */
  readonly source?: DiskSource | undefined;
  readonly type: string;
  readonly format?: string | undefined;
  readonly cache?: string | undefined;
  readonly readOnly: boolean;
  readonly shareable: boolean;
  readonly transient: boolean;
  readonly serial?: string | undefined;
  /** The images under this one, nearest first, as far as libvirt tells (it does while the VM runs). */
  readonly backing: readonly DiskSource[];
  /** A block job that mirrors this disk. */
  readonly mirror?: { readonly job: string; readonly ready: boolean; readonly path?: string | undefined } | undefined;
}

const devices = ["disk", "cdrom", "floppy", "lun"] as const;
const MAX_CHAIN = 200;

/** Undefined for a disk without a target, which libvirt does not write. */
export function readDisk(disk: XmlElement): DiskXml | undefined {
  const target = disk.child("target");
  const dev = target?.attribute("dev");
  if (dev === undefined) return undefined;
  const driver = disk.child("driver");
  const format = driver?.attribute("type");
  const type = disk.attribute("type") ?? "file";
  const mirror = disk.child("mirror");
  return {
    target: dev,
    bus: target?.attribute("bus"),
    device: devices.find((device) => device === disk.attribute("device")) ?? "disk",
    source: readSource(disk.child("source"), type, format),
    type,
    format,
    cache: driver?.attribute("cache"),
    readOnly: disk.has("readonly"),
    shareable: disk.has("shareable"),
    transient: disk.has("transient"),
    serial: disk.textOf("serial"),
    backing: readChain(disk),
    mirror: mirror && {
      job: mirror.attribute("job") ?? "copy",
      ready: mirror.attribute("ready") === "yes",
      path: mirror.child("source")?.attribute("file"),
    },
  };
}

function readChain(disk: XmlElement): DiskSource[] {
  const chain: DiskSource[] = [];
  for (let at = disk.child("backingStore"); at && chain.length < MAX_CHAIN; at = at.child("backingStore")) {
    const source = readSource(at.child("source"), at.attribute("type") ?? "file", at.child("format")?.attribute("type"));
    if (!source) break;
    chain.push(source);
  }
  return chain;
}

function readSource(source: XmlElement | undefined, type: string, format: string | undefined): DiskSource | undefined {
  if (!source) return undefined;
  const address = source.child("address");
  const described: DiskSource = {
    type,
    path: source.attribute("file") ?? source.attribute("dev") ?? source.attribute("dir") ?? source.attribute("path"),
    pool: source.attribute("pool"),
    volume: source.attribute("volume"),
    protocol: source.attribute("protocol"),
    name: source.attribute("name"),
    hosts: source.children("host").map((host) => ({
      name: host.attribute("name"),
      port: host.attribute("port"),
      transport: host.attribute("transport"),
      socket: host.attribute("socket"),
    })),
    pciAddress: address && readPciAddress(address),
    format,
    encrypted: source.has("encryption"),
  };
  const somewhere = described.path ?? described.volume ?? described.protocol ?? described.pciAddress;
  return somewhere === undefined ? undefined : described;
}

/** `0000:03:10.1`; undefined when it is no PCI address. */
export function readPciAddress(address: XmlElement): string | undefined {
  const parts = ["domain", "bus", "slot", "function"].map((name) => address.attribute(name));
  if (parts.slice(1).some((part) => part === undefined)) return undefined;
  const [domain = "0", bus = "", slot = "", fn = ""] = parts.map((part) => part?.replace(/^0x/, ""));
  return `${domain.padStart(4, "0")}:${bus.padStart(2, "0")}:${slot.padStart(2, "0")}.${fn}`;
}

/** One line for people: a path, a URL, or a volume's name. */
export function describeSource(source: DiskSource): string | undefined {
  if (source.type === "volume") return source.volume;
  if (source.pciAddress !== undefined) return `nvme://${source.pciAddress}`;
  if (source.protocol === undefined) return source.path;
  const hosts = source.hosts.map((host) => host.socket ?? `${host.name ?? ""}${host.port === undefined ? "" : `:${host.port}`}`);
  return `${source.protocol}://${hosts.join(",")}/${source.name ?? ""}`;
}
