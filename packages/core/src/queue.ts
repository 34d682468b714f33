/** What {@link BoundedQueue} yields in place of the items that did not fit. */
export interface Overflow {
  readonly kind: "overflow";
  /** How many items were dropped at this place of the sequence; at least 1. */
  readonly dropped: number;
}

export type Queued<T> = { readonly kind: "item"; readonly item: T } | Overflow;

/**
 * A queue between a producer that cannot wait (a socket's events) and one consumer. It never holds
 * more than `capacity` items: later ones are dropped, counted, and reported in their place as an
 * {@link Overflow}, so that the consumer knows it must look again. Ends with `end()`; iterating after a
 * `fail(error)` throws that error once everything before it was consumed.
 */
export class BoundedQueue<T> implements AsyncIterable<Queued<T>>, Disposable {
  readonly #capacity: number;
  #items: T[] = [];
  #dropped = 0;
  #closed: { error?: Error } | undefined;
  #wake: (() => void) | undefined;

  constructor(capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1) throw new RangeError(`capacity must be a positive integer: ${capacity}`);
    this.#capacity = capacity;
  }

  /** Adds an item; false when it was dropped (queue full or closed). */
  push(item: T): boolean {
    if (this.#closed) return false;
    const fits = this.#dropped === 0 && this.#items.length < this.#capacity;
    if (fits) this.#items.push(item);
    else this.#dropped += 1;
    this.#wake?.();
    return fits;
  }

  end(): void {
    this.#closed ??= {};
    this.#wake?.();
  }

  fail(error: Error): void {
    this.#closed ??= { error };
    this.#wake?.();
  }

  [Symbol.dispose](): void {
    this.#items = [];
    this.end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Queued<T>, void, undefined> {
    try {
      for (;;) {
        const batch = this.#items;
        const dropped = this.#dropped;
        this.#items = [];
        this.#dropped = 0;
        for (const item of batch) yield { kind: "item", item };
        if (dropped > 0) yield { kind: "overflow", dropped };
        if (this.#items.length > 0 || this.#dropped > 0) continue;
        if (this.#closed) {
          if (this.#closed.error) throw this.#closed.error;
          return;
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      this.end();
    }
  }
}
