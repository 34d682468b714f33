/** The middle value; of an even number of values the mean of both middle ones. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

export interface Row {
  readonly what: string;
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  readonly unit: string;
  /** Ours over theirs must not be above this. */
  readonly bar: number;
}

const shown = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(2));

/** Medians, range and ratio of each row, and whether the bar is held. */
export function printRows(rows: readonly Row[], names: readonly [ours: string, theirs: string]): void {
  for (const { what, ours, theirs, unit, bar } of rows) {
    const [a, b] = [median(ours), median(theirs)];
    const range = (values: readonly number[]): string => `${shown(Math.min(...values))}–${shown(Math.max(...values))}`;
    const verdict = a / b <= bar ? "held" : "MISSED";
    process.stdout.write(
      `${what}: ${names[0]} ${shown(a)} ${unit} (${range(ours)}), ${names[1]} ${shown(b)} ${unit} (${range(theirs)}), ratio ${(a / b).toFixed(2)}, bar ${bar}: ${verdict}\n`,
    );
  }
}
