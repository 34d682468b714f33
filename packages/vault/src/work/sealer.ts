import { nameLength } from "../format/names.ts";
import { limits, type PackKind } from "../format/objects.ts";
import { type FinishedPack, PackBuilder } from "../format/pack.ts";
import type { EpochKey } from "../keys/ring.ts";

export interface SealerOptions {
  readonly kind: PackKind;
  readonly key: EpochKey;
  /** zstd's. */
  readonly level: number;
  readonly packBytes: number;
  /** A record is closed when it holds this much, unpacked. */
  readonly recordBytes: number;
  /** Takes over a finished pack, its buffer included. */
  readonly onPack: (pack: FinishedPack) => void;
}

/** Gathers items into records and records into packs. */
export class Sealer {
  readonly #options: SealerOptions;
  readonly #payload: Buffer;
  #spare: ArrayBuffer | undefined;
  #items: { name: Uint8Array; length: number }[] = [];
  #filled = 0;
  #pack: PackBuilder | undefined;
  #batch = "";

  constructor(options: SealerOptions) {
    this.#options = options;
    this.#payload = Buffer.alloc(options.recordBytes);
  }

  /** What is added from now on belongs to this batch; the one before was flushed. */
  begin(batch: string): void {
    this.#batch = batch;
  }

  /** Gives a pack's buffer back for use. */
  spare(buffer: ArrayBuffer): void {
    if (this.#spare) buffer.transfer(0); // Frees it at once: the collector would let several pile up.
    else this.#spare = buffer;
  }

  add(name: Uint8Array, content: Uint8Array): void {
    if (this.#filled + content.length > this.#payload.length || this.#items.length === 255) this.#closeRecord();
    if (content.length > this.#payload.length) {
      this.#write([{ name, length: content.length }], content);
      return;
    }
    this.#payload.set(content, this.#filled);
    this.#filled += content.length;
    this.#items.push({ name: Uint8Array.from(name), length: content.length });
    if (this.#filled === this.#payload.length) this.#closeRecord();
  }

  /**
   * As {@link add} for neighbours on the grid, which lie in `content` one after the other. A record's worth of them is
   * compressed from where it lies.
   */
  addNeighbours(names: Uint8Array, content: Uint8Array, grid: number): void {
    const perRecord = Math.min(this.#payload.length / grid, limits.recordItems - 1);
    for (let at = 0, number = 0; at < content.length;) {
      const whole = this.#filled === 0 && Number.isInteger(perRecord) && content.length - at >= perRecord * grid;
      const count = whole ? perRecord : 1;
      const bytes = content.subarray(at, at + count * grid);
      if (count > 1) this.#write(itemsOf(names, number, count, grid), bytes);
      else this.add(names.subarray(number * nameLength, (number + 1) * nameLength), bytes);
      at += bytes.length;
      number += count;
    }
  }

  /** Hands over what is there as a pack of its own. */
  flush(): void {
    this.#closeRecord();
    if (this.#pack && !this.#pack.empty) this.#options.onPack(this.#pack.finish());
    this.#pack = undefined;
  }

  #closeRecord(): void {
    if (this.#items.length === 0) return;
    this.#write(this.#items, this.#payload.subarray(0, this.#filled));
    this.#items = [];
    this.#filled = 0;
  }

  #write(items: readonly { readonly name: Uint8Array; readonly length: number }[], payload: Uint8Array): void {
    const { kind, key, level, packBytes, onPack } = this.#options;
    if (this.#pack && !this.#pack.fits(items.length, payload.length)) {
      onPack(this.#pack.finish());
      this.#pack = undefined;
    }
    if (!this.#pack) {
      this.#pack = new PackBuilder(kind, this.#batch, key, new Uint8Array(this.#spare ?? new ArrayBuffer(packBytes)));
      this.#spare = undefined;
    }
    this.#pack.add(items, payload, level);
  }
}

function itemsOf(names: Uint8Array, first: number, count: number, length: number): { name: Uint8Array; length: number }[] {
  const own = names.slice(first * nameLength, (first + count) * nameLength);
  return Array.from({ length: count }, (_, i) => ({ name: own.subarray(i * nameLength, (i + 1) * nameLength), length }));
}
