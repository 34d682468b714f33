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
