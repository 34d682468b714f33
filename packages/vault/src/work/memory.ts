/** Shared memory of one size, given out and taken back, so that it is allocated once. */
export class MemoryPool {
  readonly bytes: number;
  readonly #free: SharedArrayBuffer[] = [];

  constructor(bytes: number) {
    this.bytes = bytes;
  }

  /** Memory of at least `bytes`; what is larger than usual is not kept. */
  take(bytes: number = this.bytes): SharedArrayBuffer {
    return (bytes <= this.bytes ? this.#free.pop() : undefined) ?? new SharedArrayBuffer(Math.max(bytes, this.bytes));
  }

  give(memory: SharedArrayBuffer): void {
    if (memory.byteLength === this.bytes) this.#free.push(memory);
  }
}
