import type { Writable } from "node:stream";

/** Sends what is queued in one turn of the event loop with one system call, without copying. */
export class Outbox {
  readonly #stream: Writable;
  #parts: Uint8Array[] = [];
  #onSent: (() => void)[] = [];

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  /**
   * Queues `bytes`. They must not change before `sent` is called, which it always is, also when the
   * connection fails.
   */
  send(bytes: Uint8Array, sent?: () => void): void {
    if (this.#parts.length === 0) queueMicrotask(() => this.flush());
    this.#parts.push(bytes);
    if (sent) this.#onSent.push(sent);
  }

  flush(): void {
    const parts = this.#parts;
    const onSent = this.#onSent;
    if (parts.length === 0) return;
    this.#parts = [];
    this.#onSent = [];
    const done = (): void => {
      for (const sent of onSent) sent();
    };
    if (this.#stream.destroyed || this.#stream.writableEnded) return done();
    this.#stream.cork();
    parts.forEach((part, index) => this.#stream.write(part, index === parts.length - 1 ? done : undefined));
    this.#stream.uncork();
  }
}
