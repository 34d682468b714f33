/** What one client may keep the server busy with: requests under way, and bytes of buffers. One waiter at a time. */
export class Budget {
  readonly #maxRequests: number;
  readonly #maxBytes: number;
  #requests = 0;
  #bytes = 0;
  #wake: (() => void) | undefined;

  constructor(limits: { readonly requests: number; readonly bytes: number }) {
    this.#maxRequests = limits.requests;
    this.#maxBytes = limits.bytes;
  }

  /** Takes the place of one more request with buffers of `bytes`, if it fits; a request that is alone always does. */
  tryEnter(bytes: number): boolean {
    if (this.#requests > 0 && (this.#requests >= this.#maxRequests || this.#bytes + bytes > this.#maxBytes)) return false;
    this.#requests += 1;
    this.#bytes += bytes;
    return true;
  }

  /** Waits until it fits. */
  async enter(bytes: number): Promise<void> {
    while (!this.tryEnter(bytes)) await this.#change();
  }

  leave(bytes: number): void {
    this.#requests -= 1;
    this.#bytes -= bytes;
    this.#wake?.();
  }

  /** Waits until nothing is under way. */
  async idle(): Promise<void> {
    while (this.#requests > 0) await this.#change();
  }

  async #change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
    this.#wake = undefined;
  }
}

/** Buffers of one size, used again and again; at most `keep` are kept. */
export class BufferPool {
  readonly size: number;
  readonly #keep: number;
  readonly #free: Uint8Array[] = [];

  constructor(size: number, keep: number) {
    this.size = size;
    this.#keep = keep;
  }

  /** A buffer of at least `length` bytes and a way to give it back. */
  take(length: number): Uint8Array {
    if (length > this.size) return Buffer.allocUnsafeSlow(length);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.size);
  }

  give(buffer: Uint8Array): void {
    if (buffer.length === this.size && this.#free.length < this.#keep) this.#free.push(buffer);
  }
}
