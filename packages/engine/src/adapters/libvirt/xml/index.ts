export {
  type CapabilitiesXml,
  type DomainCapabilitiesXml,
  type GuestXml,
  parseCapabilities,
  parseCpu,
  parseDomainCapabilities,
} from "./capabilities.ts";
export type { CpuFeature, CpuXml } from "./cpu.ts";
export { describeSource, type DiskSource, type DiskXml, type SourceHost } from "./disk.ts";
export { XmlError } from "./document.ts";
export { type DomainXml, type FirmwareXml, type HostDeviceXml, type NicXml, parseDomain, type TpmXml } from "./domain.ts";
export { parseCheckpointParent, parseSnapshot } from "./snapshot.ts";
export { parsePool, parseVolume, type PoolXml, type VolumeXml } from "./storage.ts";
