// Values of libvirt 11.3.0's public headers; released ones never change.

/** Kinds of domain events, as `connectDomainEventCallbackRegisterAny` takes them. */
export const DomainEventId = {
  LIFECYCLE: 0,
  REBOOT: 1,
  RTC_CHANGE: 2,
  WATCHDOG: 3,
  IO_ERROR: 4,
  GRAPHICS: 5,
  IO_ERROR_REASON: 6,
  CONTROL_ERROR: 7,
  BLOCK_JOB: 8,
  DISK_CHANGE: 9,
  TRAY_CHANGE: 10,
  PMWAKEUP: 11,
  PMSUSPEND: 12,
  BALLOON_CHANGE: 13,
  PMSUSPEND_DISK: 14,
  DEVICE_REMOVED: 15,
  BLOCK_JOB_2: 16,
  TUNABLE: 17,
  AGENT_LIFECYCLE: 18,
  DEVICE_ADDED: 19,
  MIGRATION_ITERATION: 20,
  JOB_COMPLETED: 21,
  DEVICE_REMOVAL_FAILED: 22,
  METADATA_CHANGE: 23,
  BLOCK_THRESHOLD: 24,
  MEMORY_FAILURE: 25,
  MEMORY_DEVICE_SIZE_CHANGE: 26,
  NIC_MAC_CHANGE: 27,
} as const;

/** `event` of a lifecycle event. */
export const DomainEvent = {
  DEFINED: 0,
  UNDEFINED: 1,
  STARTED: 2,
  SUSPENDED: 3,
  RESUMED: 4,
  STOPPED: 5,
  SHUTDOWN: 6,
  PMSUSPENDED: 7,
  CRASHED: 8,
} as const;

/** `detail` of the lifecycle event DEFINED. */
export const DomainEventDefinedDetail = {
  ADDED: 0,
  UPDATED: 1,
  RENAMED: 2,
  FROM_SNAPSHOT: 3,
} as const;

/** `detail` of the lifecycle event UNDEFINED. */
export const DomainEventUndefinedDetail = {
  REMOVED: 0,
  RENAMED: 1,
} as const;

/** `detail` of the lifecycle event STARTED. */
export const DomainEventStartedDetail = {
  BOOTED: 0,
  MIGRATED: 1,
  RESTORED: 2,
  FROM_SNAPSHOT: 3,
  WAKEUP: 4,
} as const;

/** `detail` of the lifecycle event SUSPENDED. */
export const DomainEventSuspendedDetail = {
  PAUSED: 0,
  MIGRATED: 1,
  IOERROR: 2,
  WATCHDOG: 3,
  RESTORED: 4,
  FROM_SNAPSHOT: 5,
  API_ERROR: 6,
  POSTCOPY: 7,
  POSTCOPY_FAILED: 8,
} as const;

/** `detail` of the lifecycle event RESUMED. */
export const DomainEventResumedDetail = {
  UNPAUSED: 0,
  MIGRATED: 1,
  FROM_SNAPSHOT: 2,
  POSTCOPY: 3,
  POSTCOPY_FAILED: 4,
} as const;

/** `detail` of the lifecycle event STOPPED. */
export const DomainEventStoppedDetail = {
  SHUTDOWN: 0,
  DESTROYED: 1,
  CRASHED: 2,
  MIGRATED: 3,
  SAVED: 4,
  FAILED: 5,
  FROM_SNAPSHOT: 6,
} as const;

/** `detail` of the lifecycle event SHUTDOWN. */
export const DomainEventShutdownDetail = {
  FINISHED: 0,
  GUEST: 1,
  HOST: 2,
} as const;

/** `detail` of the lifecycle event PMSUSPENDED. */
export const DomainEventPMSuspendedDetail = {
  MEMORY: 0,
  DISK: 1,
} as const;

/** `detail` of the lifecycle event CRASHED. */
export const DomainEventCrashedDetail = {
  PANICKED: 0,
  CRASHLOADED: 1,
} as const;

/** `action` of a watchdog event. */
export const DomainEventWatchdogAction = {
  NONE: 0,
  PAUSE: 1,
  RESET: 2,
  POWEROFF: 3,
  SHUTDOWN: 4,
  DEBUG: 5,
  INJECTNMI: 6,
} as const;

/** `action` of an I/O error event. */
export const DomainEventIoErrorAction = {
  NONE: 0,
  PAUSE: 1,
  REPORT: 2,
} as const;

/** `phase` of a graphics event. */
export const DomainEventGraphicsPhase = {
  CONNECT: 0,
  INITIALIZE: 1,
  DISCONNECT: 2,
} as const;

/** `reason` of a disk change event. */
export const DomainEventDiskChangeReason = {
  CHANGE_MISSING_ON_START: 0,
  DROP_MISSING_ON_START: 1,
} as const;

/** `reason` of a tray change event. */
export const DomainEventTrayChangeReason = {
  OPEN: 0,
  CLOSE: 1,
} as const;

/** `state` of an agent lifecycle event. */
export const DomainEventAgentState = {
  CONNECTED: 1,
  DISCONNECTED: 2,
} as const;

/** `reason` of an agent lifecycle event. */
export const DomainEventAgentReason = {
  UNKNOWN: 0,
  DOMAIN_STARTED: 1,
  CHANNEL: 2,
} as const;

/** `recipient` of a memory failure event. */
export const DomainEventMemoryFailureRecipient = {
  HYPERVISOR: 0,
  GUEST: 1,
} as const;

/** `action` of a memory failure event. */
export const DomainEventMemoryFailureAction = {
  IGNORE: 0,
  INJECT: 1,
  FATAL: 2,
  RESET: 3,
} as const;

/** `flags` of a memory failure event. */
export const DomainEventMemoryFailureFlags = {
  ACTION_REQUIRED: 1,
  RECURSIVE: 2,
} as const;
