import type { Writable } from "node:stream";

/** Copying so much costs less than telling the kernel of each part. */
const copiedBytes = 64 << 10;

/** Sends what is queued in one turn of the event loop with one system call; much of it is not copied. */
export class Outbox {
  readonly #stream: Writable;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #scheduled = false;
  #onSent: (() => void)[] = [];

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  /**
   * Queues `bytes`. They must not change before `sent` is called, which it always is, also when the
   * connection fails.
   */
  send(bytes: Uint8Array, sent?: () => void): void {
    if (!this.#scheduled) queueMicrotask(() => this.flush());
    this.#scheduled = true;
    if (bytes.length > 0) this.#parts.push(bytes);
    this.#bytes += bytes.length;
    if (sent) this.#onSent.push(sent);
  }

  flush(): void {
    const parts = this.#parts.length > 1 && this.#bytes <= copiedBytes ? [Buffer.concat(this.#parts, this.#bytes)] : this.#parts;
    const onSent = this.#onSent;
    this.#parts = [];
    this.#bytes = 0;
    this.#onSent = [];
    this.#scheduled = false;
    const done = (): void => {
      for (const sent of onSent) sent();
    };
    if (this.#stream.destroyed || this.#stream.writableEnded) return done();
    // Nothing to send: but what was sent before must be with the kernel.
    if (parts.length === 0) {
      if (onSent.length > 0) this.#stream.write(nothing, done);
      return;
    }
    this.#stream.cork();
    parts.forEach((part, index) => this.#stream.write(part, index === parts.length - 1 ? done : undefined));
    this.#stream.uncork();
  }
}

const nothing = new Uint8Array();
