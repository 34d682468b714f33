import type { JsonObject } from "@godwit/core";
import type { Estimate } from "./forecast.ts";

/** What is known of a move that was done. Bytes, milliseconds. */
export type PastMove = PastLiveMove | PastStandstill;

/** A move in which the VM stood still: what it took over what the rule had said. */
export interface PastStandstill {
  readonly kind: "quick" | "cold";
  readonly ratio: number;
}

export interface PastLiveMove {
  readonly kind: "live";
  readonly vmId: string;
  readonly networkId: string;
  /** The hosts at its ends, by id; absent when it is not known. */
  readonly sourceId?: string | undefined;
  readonly destinationId?: string | undefined;
  /** Memory and disks that were sent. */
  readonly bytes: number;
  /** While the hypervisor sent them, the pause included; and the rest. */
  readonly sendMs: number;
  readonly otherMs: number;
  readonly dirtyBytesPerSecond?: number | undefined;
  readonly pauseMs?: number | undefined;
  /** Absent: one. */
  readonly streams?: number | undefined;
  /** How much of what the hypervisor kept of the memory was sent: at most 1. Zero pages take next to nothing. */
  readonly sentShare?: number | undefined;
  /** Disks went along. */
  readonly copies?: boolean | undefined;
  /** Beside how many others that shared one of its hosts it ran, on average; absent when that is not known. */
  readonly crowd?: number | undefined;
  /** RFC 3339. */
  readonly startedAt?: string | undefined;
  readonly endedAt: string;
}

/** What moves take besides the sending, until any were seen. */
const assumedOverheadMs = 700;
/** Sizes that differ by less do not tell time that is spent anyway from time that is spent on bytes. */
const differentSizes = 1.3;

export function middle(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

/**
 * What past moves say of a path's bandwidth, and of what a move takes besides: the middle of the slopes between any
 * two moves of different sizes between the same hosts (Theil–Sen), so that single odd moves do not count. The path
 * is what sent, hosts included.
 */
export function learn(
  moves: readonly PastLiveMove[],
  over = "over this network",
): { readonly bandwidth: Estimate; readonly overhead: Estimate } | undefined {
  const told = moves.filter(({ bytes, sendMs }) => bytes > 0 && sendMs > 0);
  if (told.length === 0) return undefined;
  const slopes = told.flatMap((a, at) =>
    told.slice(at + 1).flatMap((b) => {
      const [small, large] = a.bytes < b.bytes ? [a, b] : [b, a];
      const comparable = endsOf(a) === endsOf(b) && large.bytes >= small.bytes * differentSizes;
      return comparable ? [(large.sendMs - small.sendMs) / (large.bytes - small.bytes)] : [];
    }),
  );
  const plain = middle(told.map(({ bytes, sendMs }) => sendMs / bytes)) ?? 1;
  const slope = middle(slopes);
  const usable = slope !== undefined && slope > plain / 20;
  const perByte = usable ? Math.min(slope, plain) : plain;
  const fixed = middle(told.map(({ bytes, sendMs, otherMs }) => otherMs + Math.max(0, sendMs - bytes * perByte))) ?? 0;
  const text = `as ${told.length === 1 ? "the last move" : `the last ${told.length} moves`} ${over}`;
  return { bandwidth: { value: 1000 / perByte, text }, overhead: { value: fixed, text } };
}

/** A pair of hosts, whichever way round. */
function endsOf({ sourceId = "", destinationId = "" }: Pick<PastLiveMove, "sourceId" | "destinationId">): string {
  return [sourceId, destinationId].sort().join(" ");
}

/** So many of the last moves between two hosts tell of them: more would remember a link as it was. */
const pairMoves = 9;
/** A single move with disks, or without, may be an odd one: so many tell more than all the others do. */
const alikeMoves = 2;

/**
 * The moves that tell most of one that is to be made: those that copied disks as it does, or did not, between the
 * same hosts; over the same network, where these two have seen none.
 */
function nearest(
  moves: readonly PastLiveMove[],
  { ends, copies = false }: PathFacts,
): { readonly moves: readonly PastLiveMove[]; readonly over: string } {
  const kind = moves.filter((move) => (move.copies ?? false) === copies);
  const known = kind.length >= alikeMoves;
  const alike = known ? kind : moves;
  const same = ends === undefined ? undefined : endsOf({ sourceId: ends[0], destinationId: ends[1] });
  const between = alike.filter((move) => endsOf(move) === same).slice(0, pairMoves);
  const what = copies && known ? " with disks" : "";
  return between.length > 0 ? { moves: between, over: `between these hosts${what}` } : { moves: alike, over: `over this network${what}` };
}

type Learned = NonNullable<ReturnType<typeof learn>>;

/** So many of the last moves say how busy the hosts are now: the fewest of which a single odd one does not count. */
const lastMoves = 3;
/** More than this is no load of the hosts. */
const mostLately = 4;

/** What was learned, as the last moves of them had it: hosts are busier at one time than at another. */
function lately(known: Learned | undefined, moves: readonly PastLiveMove[]): Learned | undefined {
  if (!known) return undefined;
  const { bandwidth, overhead } = known;
  const took = moves.slice(0, lastMoves).map(({ bytes, sendMs, otherMs }) => {
    const expected = overhead.value + (bytes / bandwidth.value) * 1000;
    return expected > 0 ? (sendMs + otherMs) / expected : 1;
  });
  const factor = Math.min(mostLately, Math.max(1 / mostLately, middle(took) ?? 1));
  const text = Math.abs(factor - 1) < 0.05 ? bandwidth.text : `${bandwidth.text}, the last of which took ${factor.toFixed(1)} times that`;
  return { bandwidth: { value: bandwidth.value / factor, text }, overhead: { value: overhead.value * factor, text } };
}

/**
 * What of a pause passes between two hosts whatever is left to send: the quarter of their last pauses that was shorter,
 * as others had more to send. Undefined until some were seen.
 */
export function switchoverOf(moves: readonly PastLiveMove[], ends: readonly [string, string]): Estimate | undefined {
  const pair = endsOf({ sourceId: ends[0], destinationId: ends[1] });
  const pauses = moves.flatMap((move) => (endsOf(move) === pair ? (move.pauseMs ?? []) : [])).slice(0, pairMoves);
  const value = pauses.toSorted((a, b) => a - b)[Math.floor((pauses.length - 1) / 4)];
  return value === undefined ? undefined : { value, text: `as the shorter ones of the last ${pauses.length} between these hosts` };
}

export interface PathFacts {
  readonly network: string;
  /** The hosts at both ends, by id: moves between them tell more than others over the same network. */
  readonly ends?: readonly [string, string] | undefined;
  /** Disks go along. */
  readonly copies?: boolean | undefined;
  /** The slower one of both ends, when they tell. */
  readonly speedMbps?: number | undefined;
  readonly limitBytesPerSecond?: number | undefined;
}

/** Without any moves: nine tenths of the interfaces' speed, or of a gigabit. */
export function pathOf(moves: readonly PastLiveMove[], facts: PathFacts): { bandwidth: Estimate; overhead: Estimate } {
  const { network, speedMbps, limitBytesPerSecond } = facts;
  const near = nearest(moves, facts);
  const known = lately(learn(near.moves, near.over), near.moves);
  const speed = ((speedMbps ?? 1000) * 1e6 * 0.9) / 8;
  const free = known?.bandwidth ?? {
    value: speed,
    text:
      speedMbps === undefined
        ? `no move over ${network} was seen, and its speed is not told: taken as a gigabit`
        : `nine tenths of the ${speedMbps} Mbit/s of ${network}`,
  };
  const limited = limitBytesPerSecond !== undefined && limitBytesPerSecond < free.value;
  return {
    bandwidth: limited ? { value: limitBytesPerSecond, text: "the limit that was asked for" } : free,
    overhead: known?.overhead ?? { value: assumedOverheadMs, text: "as a rule, until moves were seen" },
  };
}

/** How much of a VM's memory is sent: as in its own last move, else as in the middle one of all, else all of it. */
export function sentShare(moves: readonly PastLiveMove[], vmId: string): number {
  const own = moves.find((move) => move.vmId === vmId && move.sentShare !== undefined)?.sentShare;
  return own ?? middle(moves.flatMap((move) => move.sentShare ?? [])) ?? 1;
}

/** What was changed meanwhile and sent again is no part of it: by as much as the forecast had said. */
function shareOf(memoryBytes: number, forecast: unknown): number | undefined {
  if (typeof forecast !== "object" || forecast === null) return undefined;
  const { residentBytes, firstBytes, bytes, diskBytes = 0 } = forecast as Record<string, unknown>;
  if (typeof residentBytes !== "number" || residentBytes <= 0) return undefined;
  const known = typeof firstBytes === "number" && firstBytes > 0 && typeof bytes === "number" && typeof diskBytes === "number";
  const again = known ? Math.max(1, (bytes - diskBytes) / firstBytes) : 1;
  return Math.min(1, memoryBytes / again / residentBytes);
}

/** A hypervisor counts the zeros of a disk that it never sends: what was allocated counts, where that is known. */
function diskBytesOf(counted: number, forecast: unknown): number {
  const told = typeof forecast === "object" && forecast !== null ? (forecast as Record<string, unknown>)["diskBytes"] : undefined;
  return typeof told === "number" && told > 0 ? Math.min(counted, told) : counted;
}

/** The middle of how much longer, or shorter, than the rule such moves took. */
export function standstillRatio(moves: readonly PastMove[], kind: PastStandstill["kind"]): Estimate | undefined {
  const ratios = moves.flatMap((move) => (move.kind === kind ? [move.ratio] : []));
  const value = middle(ratios);
  return value === undefined
    ? undefined
    : { value, text: `as the last ${ratios.length === 1 ? "such move" : `${ratios.length} such moves`}` };
}

function pastStandstill(kind: PastStandstill["kind"], { totalMs, forecast }: Record<string, unknown>): PastStandstill | undefined {
  const ruleMs = typeof forecast === "object" && forecast !== null ? (forecast as Record<string, unknown>)["ruleMs"] : undefined;
  if (typeof totalMs !== "number" || typeof ruleMs !== "number" || ruleMs <= 0 || totalMs <= 0) return undefined;
  return { kind, ratio: totalMs / ruleMs };
}

function streamsOf(transport: unknown): { readonly streams?: number } {
  const streams =
    typeof transport === "object" && transport !== null ? (transport as Record<string, unknown>)["parallelConnections"] : undefined;
  return typeof streams === "number" ? { streams } : {};
}

/**
 * What the forecast may learn of a job that was done; undefined of one that says nothing, or was slowed on purpose. One that
 * took more than one attempt took the server's absence as well, and who finished it had no figures of it.
 */
export function pastMoveOf(input: JsonObject, result: unknown, attempt = 1): PastMove | undefined {
  if (attempt > 1) return undefined;
  if (typeof result !== "object" || result === null || input["bandwidthBytesPerSecond"] !== undefined) return undefined;
  const { vmId, networkId, startedAt, endedAt, kind, memoryBytes, diskBytes, sendMs, totalMs } = result as Record<string, unknown>;
  const { dirtyBytesPerSecond, pauseMs, forecast, transport } = result as Record<string, unknown>;
  if (kind === "quick" || kind === "cold") return pastStandstill(kind, result as Record<string, unknown>);
  if (kind !== "live" && kind !== "shared-nothing") return undefined;
  if (typeof vmId !== "string" || typeof networkId !== "string" || typeof endedAt !== "string") return undefined;
  if (typeof memoryBytes !== "number" || typeof sendMs !== "number" || typeof totalMs !== "number") return undefined;
  const share = shareOf(memoryBytes, forecast);
  const { sourceId, destinationId } = input;
  const disks = typeof diskBytes === "number" ? diskBytesOf(diskBytes, forecast) : 0;
  return {
    kind: "live",
    ...(typeof sourceId === "string" && typeof destinationId === "string" && { sourceId, destinationId }),
    ...(typeof startedAt === "string" && { startedAt }),
    ...(share !== undefined && { sentShare: share }),
    ...streamsOf(transport),
    vmId,
    networkId,
    endedAt,
    ...(disks > 0 && { copies: true }),
    bytes: memoryBytes + disks,
    sendMs,
    otherMs: Math.max(0, totalMs - sendMs),
    ...(typeof dirtyBytesPerSecond === "number" && { dirtyBytesPerSecond }),
    ...(typeof pauseMs === "number" && { pauseMs }),
  };
}
