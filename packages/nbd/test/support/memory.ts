import { BlockError, type Extent, type LendingSource, type Lent } from "@godwit/core";
import type { RangedSource, TrimmingSink } from "../../src/index.ts";

/** A disk in memory that is source and sink; `faults` may throw before any operation. */
export class MemoryDisk implements RangedSource, TrimmingSink {
  readonly bytes: Uint8Array;
  readonly #block: number;
  faults: (operation: string, offset: number, length: number) => void | Promise<void> = () => undefined;
  flushes = 0;

  constructor(content: Uint8Array | number, block = 4096) {
    this.bytes = typeof content === "number" ? new Uint8Array(content) : content;
    this.#block = block;
  }

  get size(): number {
    return this.bytes.length;
  }

  extents({ signal }: { signal: AbortSignal }): AsyncIterable<Extent> {
    return this.extentsIn(0, this.size, { signal });
  }

  async *extentsIn(offset: number, length: number, { signal }: { signal: AbortSignal }): AsyncGenerator<Extent> {
    let run: { offset: number; length: number; kind: Extent["kind"] } | undefined;
    for (let at = offset; at < offset + length;) {
      signal.throwIfAborted();
      const end = Math.min(offset + length, at - (at % this.#block) + this.#block);
      const kind = this.bytes.subarray(at, end).every((byte) => byte === 0) ? "zero" : "data";
      if (run?.kind === kind) run.length += end - at;
      else {
        if (run) yield run;
        run = { offset: at, length: end - at, kind };
      }
      at = end;
    }
    if (run) yield run;
  }

  async read(offset: number, into: Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    await this.#operation("read", offset, into.length, signal);
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  async write(offset: number, data: Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    await this.#operation("write", offset, data.length, signal);
    this.bytes.set(data, offset);
  }

  async writeZeroes(offset: number, length: number, { signal }: { signal: AbortSignal }): Promise<void> {
    await this.#operation("writeZeroes", offset, length, signal);
    this.bytes.fill(0, offset, offset + length);
  }

  async trim(offset: number, length: number, { signal }: { signal: AbortSignal }): Promise<void> {
    await this.#operation("trim", offset, length, signal);
  }

  async flush({ signal }: { signal: AbortSignal }): Promise<void> {
    await this.#operation("flush", 0, 0, signal);
    this.flushes += 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #operation(name: string, offset: number, length: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (offset < 0 || offset + length > this.size) throw new BlockError("out-of-range", `${name} outside`);
    await this.faults(name, offset, length);
  }
}

/** Lends, now at once and now later, what it spoils when it is given back: nobody may use it any more. */
export class LendingDisk extends MemoryDisk implements LendingSource {
  lent = 0;
  #count = 0;

  lend(offset: number, length: number, { signal }: { signal: AbortSignal }): Lent | Promise<Lent> {
    this.#count += 1;
    return this.#count % 2 === 0 ? this.#lend(offset, length) : this.#later(offset, length, signal);
  }

  async #later(offset: number, length: number, signal: AbortSignal): Promise<Lent> {
    await this.read(offset, new Uint8Array(length), { signal });
    return this.#lend(offset, length);
  }

  #lend(offset: number, length: number): Lent {
    const step = 3000;
    const pieces = Array.from({ length: Math.ceil(length / step) }, (_, i) => {
      const bytes = this.bytes.slice(offset + i * step, Math.min(offset + length, offset + (i + 1) * step));
      return bytes.every((byte) => byte === 0) ? { length: bytes.length } : { length: bytes.length, bytes };
    });
    this.lent += 1;
    const release = (): void => {
      this.lent -= 1;
      for (const { bytes } of pieces) bytes?.fill(0xee);
    };
    return { pieces, release };
  }
}

/** Bytes that differ everywhere, the same for the same seed. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0, state = seed * 2_654_435_761; at < length; at += 1) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[at] = (state >>> 16) | 1;
  }
  return bytes;
}
