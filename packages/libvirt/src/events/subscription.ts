import { abortReason, BoundedQueue, type Queued, toError } from "@godwit/core";
import { LibvirtError } from "../errors.ts";
import { Decoder } from "../xdr/decoder.ts";
import type { EventKind } from "./kinds.ts";
import type { EventRouter, SubscriptionKey } from "./router.ts";

export interface SubscribeOptions {
  /** Ends the iteration with `signal.reason` and de-registers. */
  readonly signal?: AbortSignal | undefined;
  /** Events that may wait for the consumer; more are dropped and reported as an overflow in their place. Default 1024. */
  readonly capacity?: number;
}

/** How the daemon is told to begin and to stop. */
export interface Registration {
  readonly program: number;
  /** Resolves to the callback id that the messages will carry. */
  readonly register: () => Promise<number>;
  readonly deregister: (callbackId: number) => Promise<void>;
}

/**
 * Events of one kind, from `ready` on. The daemon is told at once, not at the first iteration; one consumer iterates. Each turn
 * gives an event, or an overflow that says how many were dropped: look again at what they were about. Iterating throws
 * the daemon's refusal, or `connection-lost`. De-registers when iteration ends or on dispose.
 */
export class EventSubscription<Item> implements AsyncIterable<Queued<Item>>, AsyncDisposable {
  /** Resolves when the daemon sends: what happens after is seen. Rejects when it refused. */
  readonly ready: Promise<void>;
  readonly #queue: BoundedQueue<Item>;
  readonly #kind: EventKind<Item>;
  readonly #registration: Registration;
  readonly #router: EventRouter;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this[Symbol.asyncDispose]();
  #key: SubscriptionKey | undefined;
  #stopped: Promise<void> | undefined;

  /** Made by `connection.events`. */
  constructor(router: EventRouter, kind: EventKind<Item>, registration: Registration, options: SubscribeOptions) {
    this.#router = router;
    this.#kind = kind;
    this.#registration = registration;
    this.#signal = options.signal;
    this.#queue = new BoundedQueue(options.capacity ?? 1024);
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.ready = this.#start();
    this.ready.catch((error: unknown) => this.fail(toError(error)));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Queued<Item>, void, undefined> {
    try {
      yield* this.#queue;
      if (this.#signal?.aborted) throw abortReason(this.#signal);
    } finally {
      await this[Symbol.asyncDispose]();
    }
  }

  /** Idempotent. Resolves when the daemon was told to stop; never rejects. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** A message for this subscription, whole. */
  receive(payload: Buffer): void {
    try {
      const from = new Decoder(payload);
      const item = this.#kind.read(from);
      from.end();
      this.#queue.push(item);
    } catch (error) {
      this.fail(new LibvirtError("protocol", "an event could not be understood", {}, { cause: toError(error) }));
    }
  }

  fail(error: Error): void {
    this.#queue.fail(error);
  }

  async #start(): Promise<void> {
    this.#signal?.throwIfAborted();
    const { program, register } = this.#registration;
    this.#key = await this.#router.add(this, { program, procedure: this.#kind.procedure }, register);
  }

  async #stop(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#queue[Symbol.dispose]();
    await this.ready.catch(() => undefined);
    if (!this.#key) return;
    this.#router.remove(this.#key);
    await this.#registration.deregister(this.#key.callbackId).catch(() => undefined);
  }
}
