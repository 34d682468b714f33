import { DomainEventId } from "../constants/events.ts";
import { NodeDeviceEventId, SecretEventId } from "../constants/host.ts";
import { NetworkEventId } from "../constants/network.ts";
import { StoragePoolEventId } from "../constants/storage.ts";
import { remoteEvents } from "../protocol/generated/remote.ts";
import type { Domain, TypedParam } from "../protocol/generated/types.ts";
import type { EventProcedure } from "../rpc/procedure.ts";
import { type TypedValue, typedParams } from "../typed-params.ts";
import type { Decoder } from "../xdr/decoder.ts";

/** One kind of event: the number it is asked for by, and how its messages read. */
export interface EventKind<Item> {
  /** The event id of the registering call. */
  readonly id: number;
  /** Of the messages. */
  readonly procedure: number;
  /** Reads a whole message. */
  read(from: Decoder): Item;
}

type Flat<Message> = Omit<Message, "callbackId">;

function withoutId<Message extends { readonly callbackId: number }>(message: Message): Flat<Message> {
  const { callbackId: _, ...rest } = message;
  return rest;
}

/** A message whose fields follow the callback id. */
function flat<Message extends { readonly callbackId: number }>(id: number, event: EventProcedure<Message>): EventKind<Flat<Message>> {
  return { id, procedure: event.number, read: (from) => withoutId(event.message.read(from)) };
}

/** A message that wraps one of the time before callback ids. */
function nested<Inner>(id: number, event: EventProcedure<{ readonly callbackId: number; readonly msg: Inner }>): EventKind<Inner> {
  return { id, procedure: event.number, read: (from) => event.message.read(from).msg };
}

/** Power management: the reason stands beside the wrapped message. It is always 0. */
function suspended(
  id: number,
  event: EventProcedure<{ readonly callbackId: number; readonly reason: number; readonly msg: { readonly dom: Domain } }>,
): EventKind<{ readonly dom: Domain; readonly reason: number }> {
  return {
    id,
    procedure: event.number,
    read(from) {
      const { reason, msg } = event.message.read(from);
      return { dom: msg.dom, reason };
    },
  };
}

interface Measured {
  readonly dom: Domain;
  readonly params: Readonly<Record<string, TypedValue>>;
}

/** A message with typed parameters. */
function measured(
  id: number,
  event: EventProcedure<{ readonly callbackId: number; readonly dom: Domain; readonly params: readonly TypedParam[] }>,
): EventKind<Measured> {
  return {
    id,
    procedure: event.number,
    read(from) {
      const { dom, params } = event.message.read(from);
      return { dom, params: typedParams.decode(params) };
    },
  };
}

const id = DomainEventId;

/** Every kind of domain event (virDomainEventID). */
export const domainEventKinds = {
  /** Defined, started, suspended, resumed, stopped …: `event` is one of `DomainEvent`, `detail` says why. */
  lifecycle: nested(id.LIFECYCLE, remoteEvents.domainEventCallbackLifecycle),
  reboot: nested(id.REBOOT, remoteEvents.domainEventCallbackReboot),
  rtcChange: nested(id.RTC_CHANGE, remoteEvents.domainEventCallbackRtcChange),
  watchdog: nested(id.WATCHDOG, remoteEvents.domainEventCallbackWatchdog),
  ioError: nested(id.IO_ERROR, remoteEvents.domainEventCallbackIoError),
  graphics: nested(id.GRAPHICS, remoteEvents.domainEventCallbackGraphics),
  ioErrorReason: nested(id.IO_ERROR_REASON, remoteEvents.domainEventCallbackIoErrorReason),
  controlError: nested(id.CONTROL_ERROR, remoteEvents.domainEventCallbackControlError),
  /** The disk by its path; see `blockJob2`. */
  blockJob: nested(id.BLOCK_JOB, remoteEvents.domainEventCallbackBlockJob),
  diskChange: nested(id.DISK_CHANGE, remoteEvents.domainEventCallbackDiskChange),
  trayChange: nested(id.TRAY_CHANGE, remoteEvents.domainEventCallbackTrayChange),
  pmWakeup: suspended(id.PMWAKEUP, remoteEvents.domainEventCallbackPmwakeup),
  pmSuspend: suspended(id.PMSUSPEND, remoteEvents.domainEventCallbackPmsuspend),
  /** `actual` in KiB. */
  balloonChange: nested(id.BALLOON_CHANGE, remoteEvents.domainEventCallbackBalloonChange),
  pmSuspendDisk: suspended(id.PMSUSPEND_DISK, remoteEvents.domainEventCallbackPmsuspendDisk),
  deviceRemoved: nested(id.DEVICE_REMOVED, remoteEvents.domainEventCallbackDeviceRemoved),
  /** The disk by its target (`vda`); `type` is one of `BlockJobType`, `status` of `BlockJobStatus`. */
  blockJob2: flat(id.BLOCK_JOB_2, remoteEvents.domainEventBlockJob2),
  tunable: measured(id.TUNABLE, remoteEvents.domainEventCallbackTunable),
  agentLifecycle: flat(id.AGENT_LIFECYCLE, remoteEvents.domainEventCallbackAgentLifecycle),
  deviceAdded: flat(id.DEVICE_ADDED, remoteEvents.domainEventCallbackDeviceAdded),
  /** A pass over the memory of a migration has begun. */
  migrationIteration: flat(id.MIGRATION_ITERATION, remoteEvents.domainEventCallbackMigrationIteration),
  /** `params` by the names of `JobParam`. */
  jobCompleted: measured(id.JOB_COMPLETED, remoteEvents.domainEventCallbackJobCompleted),
  deviceRemovalFailed: flat(id.DEVICE_REMOVAL_FAILED, remoteEvents.domainEventCallbackDeviceRemovalFailed),
  metadataChange: flat(id.METADATA_CHANGE, remoteEvents.domainEventCallbackMetadataChange),
  /** A disk was written past the threshold: bytes. */
  blockThreshold: flat(id.BLOCK_THRESHOLD, remoteEvents.domainEventBlockThreshold),
  memoryFailure: flat(id.MEMORY_FAILURE, remoteEvents.domainEventMemoryFailure),
  /** `size` in KiB. */
  memoryDeviceSizeChange: flat(id.MEMORY_DEVICE_SIZE_CHANGE, remoteEvents.domainEventMemoryDeviceSizeChange),
  /** Since libvirt 11.2. */
  nicMacChange: flat(id.NIC_MAC_CHANGE, remoteEvents.domainEventNicMacChange),
};

export const networkEventKinds = {
  lifecycle: flat(NetworkEventId.LIFECYCLE, remoteEvents.networkEventLifecycle),
  /** Since libvirt 9.7. */
  metadataChange: flat(NetworkEventId.METADATA_CHANGE, remoteEvents.networkEventCallbackMetadataChange),
};

export const storagePoolEventKinds = {
  lifecycle: flat(StoragePoolEventId.LIFECYCLE, remoteEvents.storagePoolEventLifecycle),
  refresh: flat(StoragePoolEventId.REFRESH, remoteEvents.storagePoolEventRefresh),
};

export const nodeDeviceEventKinds = {
  lifecycle: flat(NodeDeviceEventId.LIFECYCLE, remoteEvents.nodeDeviceEventLifecycle),
  update: flat(NodeDeviceEventId.UPDATE, remoteEvents.nodeDeviceEventUpdate),
};

export const secretEventKinds = {
  lifecycle: flat(SecretEventId.LIFECYCLE, remoteEvents.secretEventLifecycle),
  valueChanged: flat(SecretEventId.VALUE_CHANGED, remoteEvents.secretEventValueChanged),
};

/** What an event of a kind tells. */
export type ItemOf<Kind> = Kind extends EventKind<infer Item> ? Item : never;
