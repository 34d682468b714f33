import { malformed } from "../error.ts";

/** Where the bytes of a peer go. */
export interface Receiver {
  /** Where the next bytes may be put; never empty. Valid until the next `advance`. */
  window(): Uint8Array;
  /** `count` bytes were put at the start of the last window. Throws an `NbdError` when they break the protocol. */
  advance(count: number): void;
  /** No byte will come any more. */
  closed(cause: Error): void;
}

export interface Flow {
  pause(): void;
  resume(): void;
}

const STAGING = 16 << 10;

/**
 * Exact reads over bytes that arrive in pieces: the handshakes and the server's requests. With a `flow`
 * it holds about `highWater` bytes and pauses the peer; without one, more than that is a protocol error.
 */
export class ByteReader implements Receiver {
  readonly #highWater: number;
  readonly #flow: Flow | undefined;
  readonly #chunks: Uint8Array[] = [];
  #head = 0;
  #size = 0;
  #paused = false;
  #staging: Uint8Array | undefined;
  #end: Error | undefined;
  #wake: PromiseWithResolvers<void> | undefined;

  constructor(highWater: number, flow?: Flow) {
    this.#highWater = highWater;
    this.#flow = flow;
  }

  /** Bytes that have arrived and were not read. */
  get buffered(): number {
    return this.#size;
  }

  window(): Uint8Array {
    this.#staging ??= Buffer.allocUnsafeSlow(STAGING);
    return this.#staging;
  }

  advance(count: number): void {
    this.push(Buffer.from(this.window().subarray(0, count)));
  }

  /** Takes ownership of `chunk`. */
  push(chunk: Uint8Array): void {
    if (this.#end || chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size > this.#highWater) {
      if (!this.#flow) throw malformed(`the peer sent ${this.#size} bytes that nobody asked for`);
      if (!this.#paused) this.#flow.pause();
      this.#paused = true;
    }
    this.#awaken();
  }

  closed(cause: Error): void {
    this.#end ??= cause;
    this.#awaken();
  }

  /** The next `length` bytes if they have arrived. */
  tryRead(length: number): Uint8Array | undefined {
    if (this.#size < length) return undefined;
    const into = Buffer.allocUnsafe(length);
    for (let at = 0; at < length;) at += this.#take(at === 0 ? into : into.subarray(at));
    return into;
  }

  /** The next `length` bytes. The caller has checked that the length is sane. */
  async read(length: number): Promise<Uint8Array> {
    const into = Buffer.allocUnsafe(length);
    await this.readInto(into);
    return into;
  }

  async readInto(into: Uint8Array): Promise<void> {
    for (let at = 0; at < into.length;) {
      if (this.#size === 0) await this.#more();
      at += this.#take(into.subarray(at));
    }
  }

  async skip(length: number): Promise<void> {
    const bin = Buffer.allocUnsafe(Math.min(length, STAGING));
    for (let left = length; left > 0; left -= Math.min(left, STAGING)) await this.readInto(bin.subarray(0, Math.min(left, STAGING)));
  }

  #take(into: Uint8Array): number {
    const chunk = this.#chunks[0]!;
    const count = Math.min(into.length, chunk.length - this.#head);
    into.set(count === chunk.length ? chunk : chunk.subarray(this.#head, this.#head + count));
    this.#head += count;
    this.#size -= count;
    if (this.#head === chunk.length) {
      this.#chunks.shift();
      this.#head = 0;
    }
    if (this.#paused && this.#size <= this.#highWater / 2) {
      this.#paused = false;
      this.#flow?.resume();
    }
    return count;
  }

  async #more(): Promise<void> {
    while (this.#size === 0) {
      if (this.#end) throw this.#end;
      this.#wake ??= Promise.withResolvers();
      await this.#wake.promise;
    }
  }

  #awaken(): void {
    this.#wake?.resolve();
    this.#wake = undefined;
  }
}
