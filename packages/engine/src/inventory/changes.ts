import { BoundedQueue, raceAbort } from "@godwit/core";

/** What to look at again; never what it is now. */
export type InventoryChange =
  | { readonly kind: "host"; readonly hostId: string }
  | { readonly kind: "host-removed"; readonly hostId: string }
  | { readonly kind: "vm"; readonly vmId: string }
  | { readonly kind: "vm-removed"; readonly vmId: string }
  | { readonly kind: "pools"; readonly hostId: string }
  /** Changes were lost: look at everything again. */
  | { readonly kind: "overflow" };

/** Tells every subscriber of every change; none of them can hold up the others or grow without bound. */
export class ChangeFeed {
  readonly #capacity: number;
  readonly #subscribers = new Set<BoundedQueue<InventoryChange>>();
  #next = Promise.withResolvers<void>();

  constructor(capacity = 4096) {
    this.#capacity = capacity;
  }

  emit(change: InventoryChange): void {
    for (const queue of this.#subscribers) queue.push(change);
    this.#next.resolve();
    this.#next = Promise.withResolvers<void>();
  }

  /** Resolves at the next change. */
  next(signal: AbortSignal): Promise<void> {
    return raceAbort(this.#next.promise, signal);
  }

  /** Every change from the call on. Throws `signal.reason` on abort. */
  subscribe(signal: AbortSignal): AsyncIterable<InventoryChange> {
    const queue = new BoundedQueue<InventoryChange>(this.#capacity);
    this.#subscribers.add(queue);
    return this.#drain(queue, signal);
  }

  async *#drain(queue: BoundedQueue<InventoryChange>, signal: AbortSignal): AsyncGenerator<InventoryChange, void, undefined> {
    const onAbort = (): void => queue.end();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if (signal.aborted) queue.end();
      for await (const next of queue) yield next.kind === "item" ? next.item : { kind: "overflow" };
      signal.throwIfAborted();
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#subscribers.delete(queue);
    }
  }
}
