import { shortSendMs } from "../migration/index.ts";

/** What one move costs: time that passes whatever the link, and bytes that must go over it. */
export interface MoveCost {
  readonly overheadMs: number;
  readonly bytes: number;
  /** Bytes that the guest dirties in a second while it moves. */
  readonly dirtyBytesPerSecond: number;
  /** What the path carries for one move on its own: one stream may not fill the link. */
  readonly bytesPerSecond: number;
}

export interface ScheduledMove<T> {
  readonly move: T;
  readonly startsAtMs: number;
  /** When it runs there, and leaves its place to the next one. */
  readonly arrivesAtMs: number;
  /** On its own; what it waits for others' pauses is not counted. */
  readonly takesMs: number;
}

export interface Schedule<T> {
  readonly moves: readonly ScheduledMove<T>[];
  /** How many run at the same time. */
  readonly concurrency: number;
  readonly totalMs: number;
}

export interface ScheduleOptions<T> {
  readonly cost: (move: T) => MoveCost;
  readonly destination: (move: T) => string;
  /** Simultaneous moves that the source takes part in. */
  readonly sourceLimit: number;
  readonly destinationLimit: (hostId: string) => number;
  /** What the source's link carries in a second; all moves at a time share it. */
  readonly bytesPerSecond: number;
  /** By how much each further move at a time makes a move take longer, as a fraction of what it takes on its own; default 0. */
  readonly contention?: number | undefined;
}

/** A plan that is less than this much faster is not worth one more guest that is slowed down at the same time. */
const worthwhile = 0.97;
/** Nor is a second guest on its way to the same host: they take from each other what a schedule foretells, and stand still longer. */
const worthSharing = 0.9;
/** Of what passes besides the sending, so much comes before it: the destination's process is started. The rest tidies up. */
const shareBefore = 0.6;
/** Below this share of the link over the dirty rate a guest would take too long to converge. */
const convergence = 1.25;

/**
 * When each move starts and ends, in the order given, with the number of simultaneous ones that finishes
 * first: more of them hide each other's fixed costs, but share one link, and a guest that dirties memory
 * faster than its share never arrives.
 */
export function schedule<T>(moves: readonly T[], options: ScheduleOptions<T>): Schedule<T> {
  const destinations = new Set(moves.map(options.destination)).size;
  let best = simulate(moves, 1, options);
  const most = Math.min(options.sourceLimit, moves.length);
  for (let concurrency = 2; concurrency <= most; concurrency += 1) {
    const candidate = simulate(moves, concurrency, options);
    if (candidate.totalMs < best.totalMs * (concurrency > destinations ? worthSharing : worthwhile)) best = candidate;
  }
  return best;
}

function simulate<T>(moves: readonly T[], concurrency: number, options: ScheduleOptions<T>): Schedule<T> {
  const share = options.bytesPerSecond / concurrency;
  /** When each place of the source, and of every destination, is free again: once a VM has arrived. */
  const source = new Places(concurrency);
  const places = new Map<string, Places>();
  /** Who is sent within no time is sent when no other one is on its way to the same host. */
  const turns = new Map<string, number>();
  const destinations = new Set(moves.map(options.destination)).size;
  let endMs = 0;
  const scheduled = moves.map((move) => {
    const id = options.destination(move);
    const destination = places.get(id) ?? new Places(Math.max(1, options.destinationLimit(id)));
    places.set(id, destination);
    const startsAtMs = Math.max(source.free(), destination.free());
    const cost = options.cost(move);
    const alone = duration(cost, cost.bytesPerSecond);
    const crowded = 1 + (options.contention ?? 0) * (activeOf(cost, { concurrency, destinations }) - 1);
    const beside = alone * crowded;
    const takesMs = Math.ceil(Math.max(duration(cost, share), beside));
    const overheadMs = Math.min(takesMs, cost.overheadMs * crowded);
    const sendMs = takesMs - overheadMs;
    const readyMs = startsAtMs + overheadMs * shareBefore;
    const sentMs = Math.ceil((sendMs < shortSendMs ? Math.max(readyMs, turns.get(id) ?? 0) : readyMs) + sendMs);
    if (sendMs < shortSendMs) turns.set(id, sentMs);
    source.take(sentMs);
    destination.take(sentMs);
    endMs = Math.max(endMs, sentMs + overheadMs * (1 - shareBefore));
    return { move, startsAtMs, arrivesAtMs: sentMs, takesMs };
  });
  return { moves: scheduled, concurrency, totalMs: Math.ceil(endMs) };
}

/**
 * How many are at work at the same time. Of those that are sent within no time, one is sent to each destination, and as
 * many are prepared as that takes; who waits for its turn holds nobody up.
 */
function activeOf(cost: MoveCost, { concurrency, destinations }: { readonly concurrency: number; readonly destinations: number }): number {
  const sendMs = duration(cost, cost.bytesPerSecond) - cost.overheadMs;
  if (sendMs >= shortSendMs) return concurrency;
  return Math.min(concurrency, destinations * (1 + (cost.overheadMs * shareBefore) / Math.max(1, sendMs)));
}

/** Whole milliseconds. Memory that is dirtied while it is sent is sent again; a guest that dirties more than its share is stopped at last. */
function duration({ overheadMs, bytes, dirtyBytesPerSecond, bytesPerSecond }: MoveCost, share: number): number {
  return Math.ceil(overheadMs + (bytes / netOf(Math.min(share, bytesPerSecond), dirtyBytesPerSecond)) * 1000);
}

/** What is left of a share of the link for what was not sent yet, bytes per second. */
export function netOf(share: number, dirtyBytesPerSecond: number): number {
  return Math.max(1, share - dirtyBytesPerSecond, share * (1 - 1 / convergence));
}

/** The earliest moments at which a fixed number of places are free. */
class Places {
  readonly #freeAt: number[];

  constructor(count: number) {
    this.#freeAt = Array.from({ length: count }, () => 0);
  }

  free(): number {
    return this.#freeAt[0] ?? 0;
  }

  take(until: number): void {
    this.#freeAt.shift();
    const at = this.#freeAt.findIndex((other) => other > until);
    this.#freeAt.splice(at < 0 ? this.#freeAt.length : at, 0, until);
  }
}
