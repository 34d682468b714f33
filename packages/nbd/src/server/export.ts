import type { BlockSink, BlockSource, Extent, LendingSource } from "@godwit/core";
import type { StatusExtent } from "../client/status.ts";

/** A source that can tell about a part of itself, at any time. */
export interface RangedSource extends BlockSource {
  /**
   * The extents from `offset` on, as {@link BlockSource.extents}; at least one, and none beyond the range.
   * May stop before the range's end when finding out more would take long.
   */
  extentsIn(offset: number, length: number, options: { signal: AbortSignal }): AsyncIterable<Extent>;
}

/** A sink that can give space back. */
export interface TrimmingSink extends BlockSink {
  /** The range's content is of no use any more; what it then reads as is undefined. */
  trim(offset: number, length: number, options: { signal: AbortSignal }): Promise<void>;
}

/** A metadata context besides `base:allocation`, such as a dirty bitmap. */
export interface NbdContext {
  /** `namespace:leaf`, for example `qemu:dirty-bitmap:backup`. */
  readonly name: string;
  /** Runs from `offset` on: ordered, gap-free; at least one, none beyond the range. */
  statuses(offset: number, length: number, options: { signal: AbortSignal }): AsyncIterable<StatusExtent>;
}

/** What a server offers under a name. The server borrows source and sink: their owner disposes them after it. */
export interface NbdExport {
  /** The empty name is the server's default export. */
  readonly name: string;
  /** For humans. */
  readonly description?: string;
  readonly source: BlockSource | RangedSource | LendingSource;
  /** Same size as the source; without one the export is read-only. What is written must be readable from `source` at once. */
  readonly sink?: BlockSink | TrimmingSink;
  readonly contexts?: readonly NbdContext[];
  /** Bytes. Default: 1, 4096, 32 MiB. Clients that did not negotiate sizes get an error for what does not fit. */
  readonly blockSize?: { readonly minimum: number; readonly preferred: number };
}

export function isRanged(source: BlockSource): source is RangedSource {
  return "extentsIn" in source;
}

export function lends(source: BlockSource): source is LendingSource {
  return "lend" in source;
}

export function canTrim(sink: BlockSink | undefined): sink is TrimmingSink {
  return sink !== undefined && "trim" in sink;
}
