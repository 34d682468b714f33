import { InvalidArgumentError } from "commander";

/** `64K`, `1MiB`, `10G`; K, M, G, T are powers of 1024. */
export function byteCount(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text);
  if (!match) throw new InvalidArgumentError("a size such as 64K or 10G is needed.");
  return Math.round(Number(match[1]) * 1024 ** " KMGT".indexOf((match[2] || " ").toUpperCase()));
}

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, y: 31_557_600_000 };

/** `90s`, `15m`, `36h`, `30d`, `8w`, `7y`, in ms. */
export function span(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhdwy])$/i.exec(text);
  if (!match) throw new InvalidArgumentError("a span such as 36h, 30d or 7y is needed.");
  return Math.round(Number(match[1]) * units[match[2]!.toLowerCase()]!);
}

/** A date, with or without a time, as RFC 3339 writes it; ms since the epoch. */
export function date(text: string): number {
  const at = /^\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) throw new InvalidArgumentError("a date such as 2027-03-31 or 2027-03-31T12:00:00Z is needed.");
  return at;
}

export function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("a whole number is needed.");
  return Number(text);
}

export const collect = (value: string, before: readonly string[]): string[] => [...before, value];
