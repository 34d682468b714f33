import { middle, type PastLiveMove } from "./history.ts";

/** Sizes that differ by less are alike. */
const alikeSizes = 1.3;
/** Beside fewer others than this, on average, a move ran on its own; beside more than that it did not. */
const alone = 0.25;
const together = 0.75;
/** Until such were seen: hosts share their processors among them. */
const assumedContention = 0.3;
/** More than this is something else than moves that wait for each other. */
const mostContention = 1.5;

const hostsOf = ({ sourceId, destinationId }: PastLiveMove): (string | undefined)[] => [sourceId, destinationId];

/** Beside how many others each of these moves ran, on average: others that shared one of its hosts. */
export function withCrowds(moves: readonly PastLiveMove[]): PastLiveMove[] {
  const spans = moves.map(({ startedAt, endedAt }) => [Date.parse(startedAt ?? endedAt), Date.parse(endedAt)] as const);
  return moves.map((move, at) => {
    const [from = 0, to = 0] = spans[at] ?? [];
    if (!(to > from)) return move;
    let shared = 0;
    for (const [index, [start, end]] of spans.entries()) {
      const other = moves[index];
      if (index === at || !other || !hostsOf(other).some((id) => id !== undefined && hostsOf(move).includes(id))) continue;
      shared += Math.max(0, Math.min(to, end) - Math.max(from, start));
    }
    return { ...move, crowd: shared / (to - from) };
  });
}

/**
 * By how much each further move at the same time makes a move take longer, as a fraction of what it takes on its own: 0
 * when they hide each other's waits, 1 when they wait for each other. The middle of how alike moves compare that ran
 * on their own and together; an assumption while no two such were seen.
 */
export function contentionOf(moves: readonly PastLiveMove[]): number {
  const single = moves.filter(({ crowd }) => crowd !== undefined && crowd < alone);
  const crowded = moves.filter(({ crowd = 0 }) => crowd > together);
  const slopes = crowded.flatMap((one) =>
    single.flatMap((other) => {
      const [small, large] = [Math.min(one.bytes, other.bytes), Math.max(one.bytes, other.bytes)];
      if (large > small * alikeSizes || one.copies !== other.copies || one.networkId !== other.networkId) return [];
      return [((one.sendMs + one.otherMs) / Math.max(1, other.sendMs + other.otherMs) - 1) / (one.crowd ?? 1)];
    }),
  );
  return Math.min(mostContention, Math.max(0, middle(slopes) ?? assumedContention));
}

/** The same moves with the times that each would have taken on its own. */
export function onTheirOwn(moves: readonly PastLiveMove[]): PastLiveMove[] {
  const counted = withCrowds(moves);
  const contention = contentionOf(counted);
  return counted.map((move) => {
    const factor = 1 + contention * (move.crowd ?? 0);
    return { ...move, sendMs: move.sendMs / factor, otherMs: move.otherMs / factor };
  });
}
