import { VaultError } from "../../errors.ts";
import { nameLength } from "../../format/names.ts";

/** A part of all names: those whose first two bytes are `from` (included) to `to` (not included). */
export interface NameRange {
  readonly from: number;
  readonly to: number;
}

const fullAt = 0.75;
const bytesPerName = 4 / 0.7;

export function inRange(names: Uint8Array, at: number, { from, to }: NameRange): boolean {
  const prefix = (names[at]! << 8) | names[at + 1]!;
  return prefix >= from && prefix < to;
}

/** Ranges that together are all names, and of `names` of which each fits into a filter of `bytes`. */
export function rangesFor(names: number, bytes: number): NameRange[] {
  const parts = Math.min(4096, Math.max(1, Math.ceil((names * bytesPerName) / bytes)));
  return Array.from({ length: parts }, (_, i) => ({ from: Math.floor((i * 65536) / parts), to: Math.floor(((i + 1) * 65536) / parts) }));
}

/**
 * Names that are needed, as 32 of their bits each: about 6 bytes a name. It never denies a name it was
 * given; of others it takes about one in a thousand million for needed, which only keeps it a while longer.
 */
export class LiveFilter {
  readonly #slots: Uint32Array<ArrayBuffer>;
  #count = 0;

  /** For at least `names` names. */
  constructor(names: number) {
    this.#slots = new Uint32Array(Math.max(1024, Math.ceil(names / 0.7)));
  }

  get count(): number {
    return this.#count;
  }

  clear(): void {
    this.#slots.fill(0);
    this.#count = 0;
  }

  /** Throws `missing` when there are more names than the index led to expect. */
  add(names: Uint8Array, at: number): void {
    const slot = this.#find(names, at);
    if (this.#slots[slot] !== 0) return;
    if (this.#count >= this.#slots.length * fullAt) {
      throw new VaultError("missing", "the recovery points need more chunks than the index knows; run repair before gc");
    }
    this.#slots[slot] = printOf(names, at);
    this.#count += 1;
  }

  has(names: Uint8Array, at: number): boolean {
    return this.#slots[this.#find(names, at)] !== 0;
  }

  #find(names: Uint8Array, at: number): number {
    const print = printOf(names, at);
    const place = names[at + 2]! * 0x1000000 + (names[at + 3]! << 16) + (names[at + 4]! << 8) + names[at + 5]!;
    let slot = Math.floor((place / 0x1_0000_0000) * this.#slots.length);
    while (this.#slots[slot] !== 0 && this.#slots[slot] !== print) slot = slot + 1 === this.#slots.length ? 0 : slot + 1;
    return slot;
  }
}

/** The last four bytes of a name, of which nothing else here makes use; not 0. */
function printOf(names: Uint8Array, at: number): number {
  const end = at + nameLength;
  return names[end - 4]! * 0x1000000 + (names[end - 3]! << 16) + (names[end - 2]! << 8) + names[end - 1]! || 1;
}
