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
  /** Memory and disks that were sent. */
  readonly bytes: number;
  /** While the hypervisor sent them, the pause included; and the rest. */
  readonly sendMs: number;
  readonly otherMs: number;
  readonly dirtyBytesPerSecond?: number | undefined;
  /** Absent: one. */
  readonly streams?: number | undefined;
  /** How much of what the hypervisor kept of the memory was sent: at most 1. Zero pages take next to nothing. */
  readonly sentShare?: number | undefined;
  /** RFC 3339. */
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
 * What past moves over a network say of its bandwidth, and of what a move takes besides: the middle of the
 * slopes between any two moves of different sizes (Theil–Sen), so that single odd moves do not count. The path
 * is what sent, hosts included.
 */
export function learn(moves: readonly PastLiveMove[]): { readonly bandwidth: Estimate; readonly overhead: Estimate } | undefined {
  const told = moves.filter(({ bytes, sendMs }) => bytes > 0 && sendMs > 0);
  if (told.length === 0) return undefined;
  const slopes = told.flatMap((a, at) =>
    told.slice(at + 1).flatMap((b) => {
      const [small, large] = a.bytes < b.bytes ? [a, b] : [b, a];
      return large.bytes >= small.bytes * differentSizes ? [(large.sendMs - small.sendMs) / (large.bytes - small.bytes)] : [];
    }),
  );
  const plain = middle(told.map(({ bytes, sendMs }) => sendMs / bytes)) ?? 1;
  const slope = middle(slopes);
  const usable = slope !== undefined && slope > plain / 20;
  const perByte = usable ? Math.min(slope, plain) : plain;
  const fixed = middle(told.map(({ bytes, sendMs, otherMs }) => otherMs + Math.max(0, sendMs - bytes * perByte))) ?? 0;
  const text = `as ${told.length === 1 ? "the last move" : `the last ${told.length} moves`} over this network`;
  return { bandwidth: { value: 1000 / perByte, text }, overhead: { value: fixed, text } };
}

export interface PathFacts {
  readonly network: string;
  /** The slower one of both ends, when they tell. */
  readonly speedMbps?: number | undefined;
  readonly limitBytesPerSecond?: number | undefined;
}

/** Without any moves: nine tenths of the interfaces' speed, or of a gigabit. */
export function pathOf(
  moves: readonly PastLiveMove[],
  { network, speedMbps, limitBytesPerSecond }: PathFacts,
): { bandwidth: Estimate; overhead: Estimate } {
  const known = learn(moves);
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

function shareOf(memoryBytes: number, forecast: unknown): number | undefined {
  const resident = typeof forecast === "object" && forecast !== null ? (forecast as Record<string, unknown>)["residentBytes"] : undefined;
  return typeof resident === "number" && resident > 0 ? Math.min(1, memoryBytes / resident) : undefined;
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

/** What the forecast may learn of a job that was done; undefined of one that says nothing, or was slowed on purpose. */
export function pastMoveOf(input: JsonObject, result: unknown): PastMove | undefined {
  if (typeof result !== "object" || result === null || input["bandwidthBytesPerSecond"] !== undefined) return undefined;
  const { vmId, networkId, endedAt, kind, memoryBytes, diskBytes, sendMs, totalMs, dirtyBytesPerSecond, forecast, transport } =
    result as Record<string, unknown>;
  if (kind === "quick" || kind === "cold") return pastStandstill(kind, result as Record<string, unknown>);
  if (kind !== "live" && kind !== "shared-nothing") return undefined;
  if (typeof vmId !== "string" || typeof networkId !== "string" || typeof endedAt !== "string") return undefined;
  if (typeof memoryBytes !== "number" || typeof sendMs !== "number" || typeof totalMs !== "number") return undefined;
  const share = shareOf(memoryBytes, forecast);
  return {
    kind: "live",
    ...(share !== undefined && { sentShare: share }),
    ...streamsOf(transport),
    vmId,
    networkId,
    endedAt,
    bytes: memoryBytes + (typeof diskBytes === "number" ? diskBytes : 0),
    sendMs,
    otherMs: Math.max(0, totalMs - sendMs),
    ...(typeof dirtyBytesPerSecond === "number" && { dirtyBytesPerSecond }),
  };
}
