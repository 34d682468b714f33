import { nameLength, sameName } from "../format/names.ts";

/**
 * A growing set of names, each with a fixed number of bytes beside it, in two typed arrays: about
 * 24 + `extra` + 10 bytes an entry, and nothing for the garbage collector to walk.
 */
export class NameTable {
  readonly stride: number;
  #entries: Uint8Array<ArrayBuffer>;
  #slots: Uint32Array<ArrayBuffer>;
  #count = 0;

  constructor(extra: number, capacity = 1024) {
    this.stride = nameLength + extra;
    const slots = 2 ** Math.ceil(Math.log2(capacity * 2));
    this.#slots = new Uint32Array(slots);
    this.#entries = new Uint8Array((slots / 2) * this.stride);
  }

  get size(): number {
    return this.#count;
  }

  /** All entries, in the order they were added; valid until the next {@link add}. */
  get entries(): Uint8Array<ArrayBuffer> {
    return this.#entries.subarray(0, this.#count * this.stride);
  }

  /** Offset of the name's entry in {@link entries}, or -1. */
  find(names: Uint8Array, at = 0): number {
    const entry = this.#slots[this.#slotOf(names, at)]!;
    return entry === 0 ? -1 : (entry - 1) * this.stride;
  }

  /** Adds a name, or finds it; its offset in {@link entries}. */
  add(names: Uint8Array, at = 0): { offset: number; added: boolean } {
    if (this.#count * 2 >= this.#slots.length) this.#grow();
    const slot = this.#slotOf(names, at);
    const found = this.#slots[slot]!;
    if (found !== 0) return { offset: (found - 1) * this.stride, added: false };
    const offset = this.#count * this.stride;
    this.#entries.set(names.subarray(at, at + nameLength), offset);
    this.#count += 1;
    this.#slots[slot] = this.#count;
    return { offset, added: true };
  }

  clear(): void {
    this.#slots.fill(0);
    this.#count = 0;
  }

  #slotOf(names: Uint8Array, at: number): number {
    const mask = this.#slots.length - 1;
    let slot = (names[at]! | (names[at + 1]! << 8) | (names[at + 2]! << 16) | (names[at + 3]! << 24)) & mask;
    for (;;) {
      const entry = this.#slots[slot]!;
      if (entry === 0 || sameName(this.#entries, (entry - 1) * this.stride, names, at)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #grow(): void {
    const entries = new Uint8Array(this.#entries.length * 2);
    entries.set(this.entries);
    this.#entries = entries;
    this.#slots = new Uint32Array(this.#slots.length * 2);
    for (let i = 0; i < this.#count; i += 1) this.#slots[this.#slotOf(entries, i * this.stride)] = i + 1;
  }
}
