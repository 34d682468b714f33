// Values of libvirt 11.3.0's public headers; released ones never change.

/** Of `connectOpen`. */
export const ConnectFlags = {
  RO: 1,
  NO_ALIASES: 2,
} as const;

/** Why the daemon lost its own connection to the hypervisor. */
export const ConnectCloseReason = {
  ERROR: 0,
  EOF: 1,
  KEEPALIVE: 2,
  CLIENT: 3,
} as const;

/** Set it wherever a call takes flags and returns typed parameters: texts are left out without it. */
export const TypedParameterFlags = {
  STRING_OKAY: 4,
} as const;

/** What comparing CPUs says. */
export const CpuCompareResult = {
  ERROR: -1,
  INCOMPATIBLE: 0,
  IDENTICAL: 1,
  SUPERSET: 2,
} as const;

/** Of `connectCompareCpu` and `connectCompareHypervisorCpu`. */
export const CompareCpuFlags = {
  FAIL_INCOMPATIBLE: 1,
  VALIDATE_XML: 2,
} as const;

/** Of `connectBaselineCpu` and `connectBaselineHypervisorCpu`. */
export const BaselineCpuFlags = {
  EXPAND_FEATURES: 1,
  MIGRATABLE: 2,
} as const;

/** Of `connectGetDomainCapabilities`. */
export const DomainCapabilitiesFlags = {
  DISABLE_DEPRECATED_FEATURES: 1,
} as const;

/** The CPU number that means all of them. */
export const NodeCpuStatsAll = {
  ALL_CPUS: -1,
} as const;

/** The NUMA cell number that means all of them. */
export const NodeMemoryStatsAll = {
  ALL_CELLS: -1,
} as const;

/** Of `connectListAllInterfaces`. */
export const ListInterfacesFlags = {
  INACTIVE: 1,
  ACTIVE: 2,
} as const;

/** Of `interfaceGetXmlDesc`. */
export const InterfaceXmlFlags = {
  INACTIVE: 1,
} as const;

/** Of `connectListAllNodeDevices`. */
export const ListNodeDevicesFlags = {
  CAP_SYSTEM: 1,
  CAP_PCI_DEV: 2,
  CAP_USB_DEV: 4,
  CAP_USB_INTERFACE: 8,
  CAP_NET: 16,
  CAP_SCSI_HOST: 32,
  CAP_SCSI_TARGET: 64,
  CAP_SCSI: 128,
  CAP_STORAGE: 256,
  CAP_FC_HOST: 512,
  CAP_VPORTS: 0x400,
  CAP_SCSI_GENERIC: 0x800,
  CAP_DRM: 0x1000,
  CAP_MDEV_TYPES: 0x2000,
  CAP_MDEV: 0x4000,
  CAP_CCW_DEV: 0x8000,
  CAP_CSS_DEV: 0x10000,
  CAP_VDPA: 0x20000,
  CAP_AP_CARD: 0x40000,
  CAP_AP_QUEUE: 0x80000,
  CAP_AP_MATRIX: 0x100000,
  CAP_VPD: 0x200000,
  CAP_CCWGROUP_DEV: 0x400000,
  CAP_CCWGROUP_MEMBER: 0x800000,
  PERSISTENT: 0x10000000,
  TRANSIENT: 0x20000000,
  INACTIVE: 0x40000000,
  ACTIVE: 0x80000000,
} as const;

/** Kinds of node device events. */
export const NodeDeviceEventId = {
  LIFECYCLE: 0,
  UPDATE: 1,
} as const;

/** `event` of a node device's lifecycle event. */
export const NodeDeviceEventLifecycle = {
  CREATED: 0,
  DELETED: 1,
  DEFINED: 2,
  UNDEFINED: 3,
} as const;

/** What a secret is for. */
export const SecretUsageType = {
  NONE: 0,
  VOLUME: 1,
  CEPH: 2,
  ISCSI: 3,
  TLS: 4,
  VTPM: 5,
} as const;

/** Of `connectListAllSecrets`. */
export const ListSecretsFlags = {
  EPHEMERAL: 1,
  NO_EPHEMERAL: 2,
  PRIVATE: 4,
  NO_PRIVATE: 8,
} as const;

/** Kinds of secret events. */
export const SecretEventId = {
  LIFECYCLE: 0,
  VALUE_CHANGED: 1,
} as const;

/** `event` of a secret's lifecycle event. */
export const SecretEventLifecycle = {
  DEFINED: 0,
  UNDEFINED: 1,
} as const;
