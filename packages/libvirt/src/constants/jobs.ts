// Values of libvirt 11.3.0's public headers; released ones never change.

/** `type` of a domain's job. */
export const DomainJobType = {
  NONE: 0,
  BOUNDED: 1,
  UNBOUNDED: 2,
  COMPLETED: 3,
  FAILED: 4,
  CANCELLED: 5,
} as const;

/** The job parameter `operation`. */
export const DomainJobOperation = {
  UNKNOWN: 0,
  START: 1,
  SAVE: 2,
  RESTORE: 3,
  MIGRATION_IN: 4,
  MIGRATION_OUT: 5,
  SNAPSHOT: 6,
  SNAPSHOT_REVERT: 7,
  DUMP: 8,
  BACKUP: 9,
  SNAPSHOT_DELETE: 10,
} as const;

/** Of `domainGetJobStats`. */
export const DomainJobStatsFlags = {
  COMPLETED: 1,
  KEEP_COMPLETED: 2,
} as const;

/** Of `domainAbortJobFlags`. */
export const DomainAbortJobFlags = {
  POSTCOPY: 1,
} as const;

/** Names in the typed parameters of `domainGetJobStats` and of the jobCompleted event. Times in ms, sizes in bytes. */
export const JobParam = {
  OPERATION: "operation",
  TIME_ELAPSED: "time_elapsed",
  TIME_ELAPSED_NET: "time_elapsed_net",
  TIME_REMAINING: "time_remaining",
  DOWNTIME: "downtime",
  DOWNTIME_NET: "downtime_net",
  SETUP_TIME: "setup_time",
  DATA_TOTAL: "data_total",
  DATA_PROCESSED: "data_processed",
  DATA_REMAINING: "data_remaining",
  MEMORY_TOTAL: "memory_total",
  MEMORY_PROCESSED: "memory_processed",
  MEMORY_REMAINING: "memory_remaining",
  MEMORY_CONSTANT: "memory_constant",
  MEMORY_NORMAL: "memory_normal",
  MEMORY_NORMAL_BYTES: "memory_normal_bytes",
  MEMORY_BPS: "memory_bps",
  MEMORY_DIRTY_RATE: "memory_dirty_rate",
  MEMORY_PAGE_SIZE: "memory_page_size",
  MEMORY_ITERATION: "memory_iteration",
  MEMORY_POSTCOPY_REQS: "memory_postcopy_requests",
  DISK_TOTAL: "disk_total",
  DISK_PROCESSED: "disk_processed",
  DISK_REMAINING: "disk_remaining",
  DISK_BPS: "disk_bps",
  COMPRESSION_CACHE: "compression_cache",
  COMPRESSION_BYTES: "compression_bytes",
  COMPRESSION_PAGES: "compression_pages",
  COMPRESSION_CACHE_MISSES: "compression_cache_misses",
  COMPRESSION_OVERFLOW: "compression_overflow",
  AUTO_CONVERGE_THROTTLE: "auto_converge_throttle",
  SUCCESS: "success",
  ERRMSG: "errmsg",
  DISK_TEMP_USED: "disk_temp_used",
  DISK_TEMP_TOTAL: "disk_temp_total",
  VFIO_DATA_TRANSFERRED: "vfio_data_transferred",
} as const;

/** Of every migration call. */
export const DomainMigrateFlags = {
  LIVE: 1,
  PEER2PEER: 2,
  TUNNELLED: 4,
  PERSIST_DEST: 8,
  UNDEFINE_SOURCE: 16,
  PAUSED: 32,
  NON_SHARED_DISK: 64,
  NON_SHARED_INC: 128,
  CHANGE_PROTECTION: 256,
  UNSAFE: 512,
  OFFLINE: 0x400,
  COMPRESSED: 0x800,
  ABORT_ON_ERROR: 0x1000,
  AUTO_CONVERGE: 0x2000,
  RDMA_PIN_ALL: 0x4000,
  POSTCOPY: 0x8000,
  TLS: 0x10000,
  PARALLEL: 0x20000,
  NON_SHARED_SYNCHRONOUS_WRITES: 0x40000,
  POSTCOPY_RESUME: 0x80000,
  ZEROCOPY: 0x100000,
} as const;

/** Of `domainMigrateSetMaxSpeed` and `domainMigrateGetMaxSpeed`. */
export const DomainMigrateMaxSpeedFlags = {
  POSTCOPY: 1,
} as const;

/** Names in the typed parameters of the migration calls. Bandwidths in MiB/s. */
export const MigrateParam = {
  URI: "migrate_uri",
  DEST_NAME: "destination_name",
  DEST_XML: "destination_xml",
  PERSIST_XML: "persistent_xml",
  BANDWIDTH: "bandwidth",
  BANDWIDTH_POSTCOPY: "bandwidth.postcopy",
  BANDWIDTH_AVAIL_SWITCHOVER: "bandwidth.avail.switchover",
  GRAPHICS_URI: "graphics_uri",
  LISTEN_ADDRESS: "listen_address",
  MIGRATE_DISKS: "migrate_disks",
  MIGRATE_DISKS_DETECT_ZEROES: "migrate_disks_detect_zeroes",
  DISKS_PORT: "disks_port",
  DISKS_URI: "disks_uri",
  COMPRESSION: "compression",
  COMPRESSION_MT_LEVEL: "compression.mt.level",
  COMPRESSION_MT_THREADS: "compression.mt.threads",
  COMPRESSION_MT_DTHREADS: "compression.mt.dthreads",
  COMPRESSION_XBZRLE_CACHE: "compression.xbzrle.cache",
  COMPRESSION_ZLIB_LEVEL: "compression.zlib.level",
  COMPRESSION_ZSTD_LEVEL: "compression.zstd.level",
  AUTO_CONVERGE_INITIAL: "auto_converge.initial",
  AUTO_CONVERGE_INCREMENT: "auto_converge.increment",
  PARALLEL_CONNECTIONS: "parallel.connections",
  TLS_DESTINATION: "tls.destination",
} as const;

/** Names in the typed parameters of `domainSaveParams` and `domainRestoreParams`. */
export const SaveParam = {
  FILE: "file",
  DXML: "dxml",
  IMAGE_FORMAT: "image_format",
  PARALLEL_CHANNELS: "parallel.channels",
} as const;

/** `type` of a block job. */
export const BlockJobType = {
  UNKNOWN: 0,
  PULL: 1,
  COPY: 2,
  COMMIT: 3,
  ACTIVE_COMMIT: 4,
  BACKUP: 5,
} as const;

/** `status` of a block job's event. */
export const BlockJobStatus = {
  COMPLETED: 0,
  FAILED: 1,
  CANCELED: 2,
  READY: 3,
} as const;

/** Of `domainBlockJobAbort`. */
export const BlockJobAbortFlags = {
  ASYNC: 1,
  PIVOT: 2,
} as const;

/** Of `domainGetBlockJobInfo`. */
export const BlockJobInfoFlags = {
  BANDWIDTH_BYTES: 1,
} as const;

/** Of `domainBlockJobSetSpeed`. */
export const BlockJobSetSpeedFlags = {
  BANDWIDTH_BYTES: 1,
} as const;

/** Of `domainBlockPull`. */
export const BlockPullFlags = {
  BANDWIDTH_BYTES: 64,
} as const;

/** Of `domainBlockRebase`. */
export const BlockRebaseFlags = {
  SHALLOW: 1,
  REUSE_EXT: 2,
  COPY_RAW: 4,
  COPY: 8,
  RELATIVE: 16,
  COPY_DEV: 32,
  BANDWIDTH_BYTES: 64,
} as const;

/** Of `domainBlockCopy`. */
export const BlockCopyFlags = {
  SHALLOW: 1,
  REUSE_EXT: 2,
  TRANSIENT_JOB: 4,
  SYNCHRONOUS_WRITES: 8,
} as const;

/** Names in the typed parameters of `domainBlockCopy`. */
export const BlockCopyParam = {
  BANDWIDTH: "bandwidth",
  GRANULARITY: "granularity",
  BUF_SIZE: "buf-size",
} as const;

/** Of `domainBlockCommit`. */
export const BlockCommitFlags = {
  SHALLOW: 1,
  DELETE: 2,
  ACTIVE: 4,
  RELATIVE: 8,
  BANDWIDTH_BYTES: 16,
} as const;

/** Of `domainBlockResize`. */
export const BlockResizeFlags = {
  BYTES: 1,
  CAPACITY: 2,
} as const;

/** Of `domainSnapshotCreateXml`. */
export const SnapshotCreateFlags = {
  REDEFINE: 1,
  CURRENT: 2,
  NO_METADATA: 4,
  HALT: 8,
  DISK_ONLY: 16,
  REUSE_EXT: 32,
  QUIESCE: 64,
  ATOMIC: 128,
  LIVE: 256,
  VALIDATE: 512,
} as const;

/** Of `domainListAllSnapshots`. */
export const SnapshotListFlags = {
  ROOTS: 1,
  DESCENDANTS: 1,
  LEAVES: 4,
  NO_LEAVES: 8,
  METADATA: 2,
  NO_METADATA: 16,
  INACTIVE: 32,
  ACTIVE: 64,
  DISK_ONLY: 128,
  INTERNAL: 256,
  EXTERNAL: 512,
  TOPOLOGICAL: 0x400,
} as const;

/** Of `domainSnapshotGetXmlDesc`. */
export const SnapshotXmlFlags = {
  SECURE: 1,
} as const;

/** Of `domainRevertToSnapshot`. */
export const SnapshotRevertFlags = {
  RUNNING: 1,
  PAUSED: 2,
  FORCE: 4,
  RESET_NVRAM: 8,
} as const;

/** Of `domainSnapshotDelete`. */
export const SnapshotDeleteFlags = {
  CHILDREN: 1,
  METADATA_ONLY: 2,
  CHILDREN_ONLY: 4,
} as const;

/** Of `domainCheckpointCreateXml`. */
export const CheckpointCreateFlags = {
  REDEFINE: 1,
  QUIESCE: 2,
  REDEFINE_VALIDATE: 4,
} as const;

/** Of `domainCheckpointGetXmlDesc`. */
export const CheckpointXmlFlags = {
  SECURE: 1,
  NO_DOMAIN: 2,
  SIZE: 4,
} as const;

/** Of `domainListAllCheckpoints`. */
export const CheckpointListFlags = {
  ROOTS: 1,
  DESCENDANTS: 1,
  TOPOLOGICAL: 2,
  LEAVES: 4,
  NO_LEAVES: 8,
} as const;

/** Of `domainCheckpointDelete`. */
export const CheckpointDeleteFlags = {
  CHILDREN: 1,
  METADATA_ONLY: 2,
  CHILDREN_ONLY: 4,
} as const;

/** Of `domainBackupBegin`. */
export const BackupBeginFlags = {
  REUSE_EXTERNAL: 1,
} as const;
