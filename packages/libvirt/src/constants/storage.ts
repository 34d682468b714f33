// Values of libvirt 11.3.0's public headers; released ones never change.

/** Of `connectListAllStoragePools`. */
export const ListStoragePoolsFlags = {
  INACTIVE: 1,
  ACTIVE: 2,
  PERSISTENT: 4,
  TRANSIENT: 8,
  AUTOSTART: 16,
  NO_AUTOSTART: 32,
  DIR: 64,
  FS: 128,
  NETFS: 256,
  LOGICAL: 512,
  DISK: 0x400,
  ISCSI: 0x800,
  SCSI: 0x1000,
  MPATH: 0x2000,
  RBD: 0x4000,
  SHEEPDOG: 0x8000,
  GLUSTER: 0x10000,
  ZFS: 0x20000,
  VSTORAGE: 0x40000,
  ISCSI_DIRECT: 0x80000,
} as const;

/** `state` of a pool. */
export const StoragePoolState = {
  INACTIVE: 0,
  BUILDING: 1,
  RUNNING: 2,
  DEGRADED: 3,
  INACCESSIBLE: 4,
} as const;

/** Of `storagePoolBuild`. */
export const StoragePoolBuildFlags = {
  NEW: 0,
  REPAIR: 1,
  RESIZE: 2,
  NO_OVERWRITE: 4,
  OVERWRITE: 8,
} as const;

/** Of `storagePoolCreate` and `storagePoolCreateXml`. */
export const StoragePoolCreateFlags = {
  NORMAL: 0,
  WITH_BUILD: 1,
  WITH_BUILD_OVERWRITE: 2,
  WITH_BUILD_NO_OVERWRITE: 4,
} as const;

/** Of `storagePoolDelete`. */
export const StoragePoolDeleteFlags = {
  NORMAL: 0,
  ZEROED: 1,
} as const;

/** Of `storagePoolGetXmlDesc`. */
export const StorageXmlFlags = {
  INACTIVE: 1,
} as const;

/** `type` of a volume. */
export const StorageVolType = {
  FILE: 0,
  BLOCK: 1,
  DIR: 2,
  NETWORK: 3,
  NETDIR: 4,
  PLOOP: 5,
} as const;

/** Of `storageVolCreateXml` and `storageVolCreateXmlFrom`. */
export const StorageVolCreateFlags = {
  PREALLOC_METADATA: 1,
  REFLINK: 2,
  VALIDATE: 4,
} as const;

/** Of `storageVolDelete`. */
export const StorageVolDeleteFlags = {
  NORMAL: 0,
  ZEROED: 1,
  WITH_SNAPSHOTS: 2,
} as const;

/** Of `storageVolWipePattern`. */
export const StorageVolWipeAlgorithm = {
  ZERO: 0,
  NNSA: 1,
  DOD: 2,
  BSI: 3,
  GUTMANN: 4,
  SCHNEIER: 5,
  PFITZNER7: 6,
  PFITZNER33: 7,
  RANDOM: 8,
  TRIM: 9,
} as const;

/** Of `storageVolGetInfoFlags`. */
export const StorageVolInfoFlags = {
  USE_ALLOCATION: 0,
  GET_PHYSICAL: 1,
} as const;

/** Of `storageVolDownload`. */
export const StorageVolDownloadFlags = {
  SPARSE_STREAM: 1,
} as const;

/** Of `storageVolUpload`. */
export const StorageVolUploadFlags = {
  SPARSE_STREAM: 1,
} as const;

/** Of `storageVolResize`. */
export const StorageVolResizeFlags = {
  ALLOCATE: 1,
  DELTA: 2,
  SHRINK: 4,
} as const;

/** Kinds of storage pool events. */
export const StoragePoolEventId = {
  LIFECYCLE: 0,
  REFRESH: 1,
} as const;

/** `event` of a storage pool's lifecycle event. */
export const StoragePoolEventLifecycle = {
  DEFINED: 0,
  UNDEFINED: 1,
  STARTED: 2,
  STOPPED: 3,
  CREATED: 4,
  DELETED: 5,
} as const;
