import { BoundedQueue, describeError, isCancelled, type Queued } from "@godwit/core";
import { BlockJobStatus, type Connection, type Domain, DomainEvent, type DomainEventName, LibvirtError } from "@godwit/libvirt";
import type { HostEvent } from "../../ports/hypervisor.ts";
import { isThrowaway } from "./migration/throwaway.ts";

const CAPACITY = 1024;

/** Events after which a VM's definition may be another one. `blockJob2` only when the job ended or is ready. */
const definitionEvents = [
  "deviceAdded",
  "deviceRemoved",
  "metadataChange",
  "trayChange",
  "diskChange",
  "agentLifecycle",
] as const satisfies DomainEventName[];

export interface EventSink {
  /** The definition may be another now. */
  definitionChanged(vmId: string): void;
  /** Anything may have changed. */
  overflow(): void;
}

/**
 * All that a daemon tells of its domains and pools, as one bounded queue, from `open` on. A kind of event that
 * the daemon does not have is done without: the periodic reading makes up for it.
 */
export class HostEvents implements Disposable {
  readonly #connection: Connection;
  readonly #sink: EventSink;
  readonly #log: (text: string) => void;
  readonly #queue = new BoundedQueue<HostEvent>(CAPACITY);

  private constructor(connection: Connection, sink: EventSink, log: (text: string) => void) {
    this.#connection = connection;
    this.#sink = sink;
    this.#log = log;
    void connection.closed.then(() => this.#queue.end());
  }

  static async open(connection: Connection, sink: EventSink, log: (text: string) => void): Promise<HostEvents> {
    const events = new HostEvents(connection, sink, log);
    const { events: source } = connection;
    await Promise.all([
      events.#follow("lifecycle", source.domain("lifecycle"), ({ dom, event }) => events.#lifecycle(dom, event)),
      ...definitionEvents.map((name) => events.#follow(name, source.domain(name), ({ dom }) => events.#definition(dom))),
      events.#follow("blockJob2", source.domain("blockJob2"), ({ dom, status }) => {
        if (status !== BlockJobStatus.FAILED) events.#definition(dom);
      }),
      events.#follow("pool lifecycle", source.storagePool("lifecycle"), () => events.#push({ kind: "pools-changed" })),
      events.#follow("pool refresh", source.storagePool("refresh"), () => events.#push({ kind: "pools-changed" })),
    ]);
    return events;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<HostEvent, void, undefined> {
    for await (const next of this.#queue) {
      if (next.kind === "overflow") this.#sink.overflow();
      yield next.kind === "item" ? next.item : { kind: "overflow" };
    }
  }

  [Symbol.dispose](): void {
    this.#queue[Symbol.dispose]();
  }

  /** Resolves when the daemon tells, or has said that it does not. */
  async #follow<Item>(name: string, subscription: Subscription<Item>, handle: (item: Item) => void): Promise<void> {
    try {
      await subscription.ready;
    } catch (error) {
      if (!(error instanceof LibvirtError) || error.kind !== "libvirt") throw error;
      this.#log(`no ${name} events: ${describeError(error)}`);
      return;
    }
    void this.#pump(name, subscription, handle);
  }

  async #pump<Item>(name: string, subscription: Subscription<Item>, handle: (item: Item) => void): Promise<void> {
    try {
      for await (const next of subscription) {
        if (next.kind === "item") handle(next.item);
        else this.#push({ kind: "overflow" });
      }
    } catch (error) {
      if (this.#connection.state.kind === "open" && !isCancelled(error)) {
        this.#log(`${name} events ended: ${describeError(error)}`);
        this.#push({ kind: "overflow" });
      }
    }
  }

  #lifecycle(dom: Domain, event: number): void {
    if (isThrowaway(dom)) return;
    this.#sink.definitionChanged(dom.uuid);
    this.#push({ kind: event === DomainEvent.UNDEFINED ? "vm-removed" : "vm-changed", vmId: dom.uuid });
  }

  #definition(dom: Domain): void {
    if (isThrowaway(dom)) return;
    this.#sink.definitionChanged(dom.uuid);
    this.#push({ kind: "vm-changed", vmId: dom.uuid });
  }

  #push(event: HostEvent): void {
    this.#queue.push(event);
  }
}

interface Subscription<Item> extends AsyncIterable<Queued<Item>> {
  readonly ready: Promise<void>;
}
