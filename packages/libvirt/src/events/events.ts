import { type QemuProgram, qemuEvents, qemuProgram } from "../protocol/generated/qemu.ts";
import { type RemoteProgram, remoteProgram } from "../protocol/generated/remote.ts";
import type { Domain, Network, NodeDevice, Secret, StoragePool } from "../protocol/generated/types.ts";
import {
  domainEventKinds,
  type EventKind,
  type ItemOf,
  networkEventKinds,
  nodeDeviceEventKinds,
  secretEventKinds,
  storagePoolEventKinds,
} from "./kinds.ts";
import type { EventRouter } from "./router.ts";
import { EventSubscription, type SubscribeOptions } from "./subscription.ts";

export type DomainEventName = keyof typeof domainEventKinds;
export type NetworkEventName = keyof typeof networkEventKinds;
export type StoragePoolEventName = keyof typeof storagePoolEventKinds;
export type NodeDeviceEventName = keyof typeof nodeDeviceEventKinds;
export type SecretEventName = keyof typeof secretEventKinds;

/** What the event of a kind tells: `DomainEventItem<"jobCompleted">`. */
export type DomainEventItem<Name extends DomainEventName> = ItemOf<(typeof domainEventKinds)[Name]>;
export type NetworkEventItem<Name extends NetworkEventName> = ItemOf<(typeof networkEventKinds)[Name]>;
export type StoragePoolEventItem<Name extends StoragePoolEventName> = ItemOf<(typeof storagePoolEventKinds)[Name]>;
export type NodeDeviceEventItem<Name extends NodeDeviceEventName> = ItemOf<(typeof nodeDeviceEventKinds)[Name]>;
export type SecretEventItem<Name extends SecretEventName> = ItemOf<(typeof secretEventKinds)[Name]>;

/** An event of QEMU's monitor, as it came. */
export interface MonitorEvent {
  readonly dom: Domain;
  readonly event: string;
  /** QEMU's time: seconds since the epoch, and microseconds. */
  readonly seconds: bigint;
  readonly micros: number;
  /** JSON of the event's data, or null. */
  readonly details: string | null;
}

const monitorEvent: EventKind<MonitorEvent> = {
  id: 0,
  procedure: qemuEvents.domainMonitorEvent.number,
  read(from) {
    const { callbackId: _, ...event } = qemuEvents.domainMonitorEvent.message.read(from);
    return event;
  },
};

/** The daemon's events. Each method tells the daemon at once; await `ready` before you cause what you want to see. */
export class ConnectionEvents {
  readonly #remote: RemoteProgram;
  readonly #qemu: QemuProgram;
  readonly #router: EventRouter;

  constructor(remote: RemoteProgram, qemu: QemuProgram, router: EventRouter) {
    this.#remote = remote;
    this.#qemu = qemu;
    this.#router = router;
  }

  /** Of all domains, or of `dom` alone. */
  domain<Name extends DomainEventName>(
    name: Name,
    options: SubscribeOptions & { readonly dom?: Domain } = {},
  ): EventSubscription<DomainEventItem<Name>> {
    const kind = domainEventKinds[name] as EventKind<DomainEventItem<Name>>;
    return this.#subscribe(
      kind,
      () => this.#remote.connectDomainEventCallbackRegisterAny({ eventId: kind.id, dom: options.dom ?? null }),
      (callbackId) => this.#remote.connectDomainEventCallbackDeregisterAny({ callbackId }),
      options,
    );
  }

  network<Name extends NetworkEventName>(
    name: Name,
    options: SubscribeOptions & { readonly net?: Network } = {},
  ): EventSubscription<NetworkEventItem<Name>> {
    const kind = networkEventKinds[name] as EventKind<NetworkEventItem<Name>>;
    return this.#subscribe(
      kind,
      () => this.#remote.connectNetworkEventRegisterAny({ eventId: kind.id, net: options.net ?? null }),
      (callbackId) => this.#remote.connectNetworkEventDeregisterAny({ callbackId }),
      options,
    );
  }

  storagePool<Name extends StoragePoolEventName>(
    name: Name,
    options: SubscribeOptions & { readonly pool?: StoragePool } = {},
  ): EventSubscription<StoragePoolEventItem<Name>> {
    const kind = storagePoolEventKinds[name] as EventKind<StoragePoolEventItem<Name>>;
    return this.#subscribe(
      kind,
      () => this.#remote.connectStoragePoolEventRegisterAny({ eventId: kind.id, pool: options.pool ?? null }),
      (callbackId) => this.#remote.connectStoragePoolEventDeregisterAny({ callbackId }),
      options,
    );
  }

  nodeDevice<Name extends NodeDeviceEventName>(
    name: Name,
    options: SubscribeOptions & { readonly dev?: NodeDevice } = {},
  ): EventSubscription<NodeDeviceEventItem<Name>> {
    const kind = nodeDeviceEventKinds[name] as EventKind<NodeDeviceEventItem<Name>>;
    return this.#subscribe(
      kind,
      () => this.#remote.connectNodeDeviceEventRegisterAny({ eventId: kind.id, dev: options.dev ?? null }),
      (callbackId) => this.#remote.connectNodeDeviceEventDeregisterAny({ callbackId }),
      options,
    );
  }

  secret<Name extends SecretEventName>(
    name: Name,
    options: SubscribeOptions & { readonly secret?: Secret } = {},
  ): EventSubscription<SecretEventItem<Name>> {
    const kind = secretEventKinds[name] as EventKind<SecretEventItem<Name>>;
    return this.#subscribe(
      kind,
      () => this.#remote.connectSecretEventRegisterAny({ eventId: kind.id, secret: options.secret ?? null }),
      (callbackId) => this.#remote.connectSecretEventDeregisterAny({ callbackId }),
      options,
    );
  }

  /** Events of QEMU's own monitor, by name (`flags`: `MonitorEventFlags`, to match a regular expression); all of them by default. */
  monitor(
    options: SubscribeOptions & { readonly dom?: Domain; readonly event?: string; readonly flags?: number } = {},
  ): EventSubscription<MonitorEvent> {
    const { dom = null, event = null, flags = 0 } = options;
    const registration = {
      program: qemuProgram.number,
      register: () => this.#qemu.connectDomainMonitorEventRegister({ dom, event, flags }),
      deregister: (callbackId: number) => this.#qemu.connectDomainMonitorEventDeregister({ callbackId }),
    };
    return new EventSubscription(this.#router, monitorEvent, registration, options);
  }

  #subscribe<Item>(
    kind: EventKind<Item>,
    register: () => Promise<number>,
    deregister: (callbackId: number) => Promise<void>,
    options: SubscribeOptions,
  ): EventSubscription<Item> {
    return new EventSubscription(this.#router, kind, { program: remoteProgram.number, register, deregister }, options);
  }
}
