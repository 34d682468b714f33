import { GodwitError } from "./errors.ts";

/** A run of a disk. Offsets and lengths in bytes. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
  /** `zero`: reads as zeros, whether or not space is allocated for it. */
  readonly kind: "data" | "zero";
}

/** A readable disk image, export or recovery point. */
export interface BlockSource extends AsyncDisposable {
  /** Bytes. */
  readonly size: number;
  /**
   * Ordered, gap-free, never empty ones; the last ends at `size`. Pull-only. Rejects with
   * `signal.reason` on abort.
   */
  extents(options: { signal: AbortSignal }): AsyncIterable<Extent>;
  /** Fills all of `into`, or throws a `BlockError` of kind `out-of-range` having read nothing. */
  read(offset: number, into: Uint8Array, options: { signal: AbortSignal }): Promise<void>;
}

/** A part of what was lent: bytes that must not be changed, or zeros. */
export interface LentPiece {
  readonly length: number;
  /** Absent for zeros. */
  readonly bytes?: Uint8Array;
}

/** A range of a source as it lies in memory of the source's own; valid until `release`, which must be called once. */
export interface Lent {
  readonly pieces: readonly LentPiece[];
  release(): void;
}

/** A source that holds what it was asked for lately, and can show it without a copy. */
export interface LendingSource extends BlockSource {
  /** As `read`, but for where the bytes are. What is at hand comes at once, not as a promise. */
  lend(offset: number, length: number, options: { signal: AbortSignal }): Lent | Promise<Lent>;
}

/** Where blocks are written. What was never written reads as it did before. */
export interface BlockSink extends AsyncDisposable {
  /** Bytes. */
  readonly size: number;
  write(offset: number, data: Uint8Array, options: { signal: AbortSignal }): Promise<void>;
  /** Makes the range read as zeros, with a hole where the target can. */
  writeZeroes(offset: number, length: number, options: { signal: AbortSignal }): Promise<void>;
  /** Resolves when everything written so far is durable. */
  flush(options: { signal: AbortSignal }): Promise<void>;
}

export type BlockErrorKind = "io" | "corrupt" | "unsupported" | "out-of-range" | "protocol";

/** An error of a {@link BlockSource} or {@link BlockSink}. */
export class BlockError extends GodwitError<BlockErrorKind> {
  override readonly name = "BlockError";
}
