import type { Room } from "./protocol.ts";

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

/** Room for a record of our writers unpacked, and the byte more that the decoder asks for; whole pages. */
const roomBytes = 260 << 10;
const slabBytes = 8 << 20;

/** Rooms for one record each, cut from larger memory: one by one they would keep the garbage collector busy. */
export class Rooms {
  readonly #free: Room[] = [];

  take(): Room {
    if (this.#free.length === 0) {
      const memory = new SharedArrayBuffer(slabBytes);
      for (let at = 0; at + roomBytes <= slabBytes; at += roomBytes) this.#free.push({ memory, at, bytes: roomBytes });
    }
    return this.#free.pop()!;
  }

  give(room: Room): void {
    this.#free.push(room);
  }
}
