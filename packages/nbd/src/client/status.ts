import { malformed } from "../error.ts";
import { getU64, viewOf } from "../protocol/bytes.ts";

/** A run of an export with one status in one metadata context. */
export interface StatusExtent {
  readonly offset: number;
  /** Bytes; never 0. */
  readonly length: number;
  /** As the context defines it; of a 64-bit status the lower 53 bits are exact. */
  readonly status: number;
}

/** A run of an export with its status in several contexts, in the order they were asked for. */
export interface StatusRun {
  readonly offset: number;
  readonly length: number;
  readonly statuses: readonly number[];
}

/** Walks over the descriptors of one block status chunk. */
export class StatusCursor {
  readonly #view: DataView;
  readonly #unit: 8 | 16;
  readonly #end: number;
  #at = 0;
  #left = 0;
  #position: number;

  /** `range.offset` is where the chunk starts; what lies behind `range.end` is cut off. */
  constructor(descriptors: Uint8Array, extended: boolean, range: { offset: number; end: number }) {
    this.#view = viewOf(descriptors);
    this.#unit = extended ? 16 : 8;
    this.#position = range.offset;
    this.#end = range.end;
    this.#next();
  }

  /** Bytes left in the present run; 0 at the end. */
  get left(): number {
    return this.#left;
  }

  get position(): number {
    return this.#position;
  }

  status = 0;

  advance(length: number): void {
    this.#position += length;
    this.#left -= length;
    if (this.#left === 0) this.#next();
  }

  #next(): void {
    if (this.#at + this.#unit > this.#view.byteLength || this.#position >= this.#end) return;
    const length = this.#unit === 16 ? getU64(this.#view, this.#at) : this.#view.getUint32(this.#at);
    if (length === 0) throw malformed("a block status has an empty extent");
    this.status = this.#unit === 16 ? getU64(this.#view, this.#at + 8) : this.#view.getUint32(this.#at + 4);
    this.#left = Math.min(length, this.#end - this.#position);
    this.#at += this.#unit;
  }
}

/** Cuts the chunks of several contexts into runs with one status each, as far as all of them reach. */
export function* alignStatuses(cursors: readonly StatusCursor[]): Generator<StatusRun, void, undefined> {
  for (;;) {
    const length = Math.min(...cursors.map((cursor) => cursor.left));
    if (length === 0 || cursors.length === 0) return;
    yield { offset: cursors[0]!.position, length, statuses: cursors.map((cursor) => cursor.status) };
    for (const cursor of cursors) cursor.advance(length);
  }
}

/** Joins neighbouring runs that have the same statuses. */
export class RunJoiner {
  #run: { offset: number; length: number; statuses: readonly number[] } | undefined;

  /** Adds a run; returns the one before it when that is complete. */
  add(run: StatusRun): StatusRun | undefined {
    const last = this.#run;
    if (last && last.statuses.every((status, index) => status === run.statuses[index])) {
      last.length += run.length;
      return undefined;
    }
    this.#run = { ...run };
    return last;
  }

  end(): StatusRun | undefined {
    const last = this.#run;
    this.#run = undefined;
    return last;
  }
}
