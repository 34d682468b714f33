import type { LibvirtError } from "../errors.ts";

/** What the messages of one subscription have in common. Callback ids count per object type, not per connection. */
export interface SubscriptionKey {
  readonly program: number;
  readonly procedure: number;
  readonly callbackId: number;
}

export interface EventReceiver {
  receive(payload: Buffer): void;
  fail(error: LibvirtError): void;
}

/** Messages kept for subscriptions whose registration is not answered yet. */
const earlyLimit = 1024;

const text = ({ program, procedure, callbackId }: SubscriptionKey): string => `${program}/${procedure}/${callbackId}`;

/** Brings the daemon's messages to their subscriptions. */
export class EventRouter {
  readonly #receivers = new Map<string, EventReceiver>();
  /** The first events may come before, or together with, the answer that names their callback id. */
  #early: { readonly key: string; readonly payload: Buffer }[] = [];
  #registering = 0;

  /** Registers, and from then on hands over every message with the callback id that `register` resolves to. */
  async add(
    receiver: EventReceiver,
    source: Omit<SubscriptionKey, "callbackId">,
    register: () => Promise<number>,
  ): Promise<SubscriptionKey> {
    this.#registering += 1;
    try {
      const key = { ...source, callbackId: await register() };
      this.#receivers.set(text(key), receiver);
      for (const early of this.#early) if (early.key === text(key)) receiver.receive(early.payload);
      return key;
    } finally {
      this.#registering -= 1;
      if (this.#registering === 0) this.#early = [];
    }
  }

  remove(key: SubscriptionKey): void {
    this.#receivers.delete(text(key));
  }

  /** A message; one that nobody waits for (any more) is dropped. */
  route(header: { readonly program: number; readonly procedure: number }, payload: Buffer): void {
    if (payload.length < 4) return;
    const key = text({ ...header, callbackId: payload.readInt32BE(0) });
    const receiver = this.#receivers.get(key);
    if (receiver) receiver.receive(payload);
    else if (this.#registering > 0 && this.#early.length < earlyLimit) this.#early.push({ key, payload });
  }

  /** The connection is gone: no more events. */
  fail(error: LibvirtError): void {
    for (const receiver of this.#receivers.values()) receiver.fail(error);
    this.#receivers.clear();
  }
}
