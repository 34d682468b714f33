import type { Extent } from "@godwit/core";

/** A part of a disk on the vault's grid: chunks to read and store, or to make zero. */
export interface Run {
  readonly kind: "read" | "zero";
  /** Bytes, on the grid. */
  readonly offset: number;
  /** Bytes: whole chunks, but for the disk's end. */
  readonly length: number;
}

export interface RunOptions {
  readonly size: number;
  readonly grid: number;
  /** A run's most bytes; its offset is on multiples of it wherever possible. */
  readonly runBytes: number;
}

/**
 * Cuts ordered extents into runs. A chunk that holds any data is read whole, and once; a zero extent gives
 * the chunks that lie in it wholly, and its ragged ends are read.
 */
export async function* runsOf(extents: Iterable<Extent> | AsyncIterable<Extent>, options: RunOptions): AsyncGenerator<Run> {
  const { size } = options;
  let done = 0;
  let open: { from: number; to: number } | undefined;
  for await (const { offset, length, kind } of extents) {
    const end = Math.min(offset + length, size);
    if (end <= offset) continue;
    for (const piece of piecesOf(offset, end, kind, options)) {
      const from = Math.max(piece.from, done);
      if (from >= piece.to) continue;
      done = piece.to;
      if (piece.kind === "zero") {
        if (open) yield* cut(open, options);
        open = undefined;
        yield { kind: "zero", offset: from, length: piece.to - from };
      } else if (open && from <= open.to) {
        open.to = piece.to;
      } else {
        if (open) yield* cut(open, options);
        open = { from, to: piece.to };
      }
      // What is complete goes out at once: a dense disk is one endless run.
      const whole = open ? open.to - (open.to % options.runBytes) : 0;
      if (open && whole > open.from) {
        yield* cut({ from: open.from, to: whole }, options);
        open = { from: whole, to: open.to };
      }
    }
  }
  if (open) yield* cut(open, options);
}

interface Piece {
  readonly kind: "read" | "zero";
  readonly from: number;
  readonly to: number;
}

function piecesOf(offset: number, end: number, kind: Extent["kind"], { size, grid }: RunOptions): Piece[] {
  const down = (at: number): number => at - (at % grid);
  const up = (at: number): number => Math.min(size, down(at + grid - 1));
  if (kind === "data") return [{ kind: "read", from: down(offset), to: up(end) }];
  const [from, to] = [up(offset), end === size ? size : down(end)];
  if (from >= to) return [{ kind: "read", from: down(offset), to: up(end) }];
  return [
    { kind: "read", from: down(offset), to: from },
    { kind: "zero", from, to },
    { kind: "read", from: to, to: up(end) },
  ];
}

function* cut({ from, to }: { from: number; to: number }, { runBytes }: RunOptions): Generator<Run> {
  for (let at = from; at < to;) {
    const end = Math.min(to, at + runBytes - (at % runBytes));
    yield { kind: "read", offset: at, length: end - at };
    at = end;
  }
}
