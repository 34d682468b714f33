import { median } from "../report.ts";

/** Values of one tool, or of a plain program, in one case. */
export interface Measured {
  readonly name: string;
  readonly values: readonly number[];
  /** How many times ours it should be, at least: its value over ours. */
  readonly atLeast?: number;
}

export interface CaseRow {
  readonly what: string;
  readonly unit: string;
  readonly ours: readonly number[];
  readonly others: readonly Measured[];
  /** Ours must not be above this. */
  readonly limit?: number;
}

const shown = (value: number): string => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

function verdictOf({ ours, others, limit, unit }: CaseRow): string {
  const mine = median(ours);
  const bars = others.flatMap(({ name, values, atLeast }) => {
    if (atLeast === undefined) return [];
    const ratio = median(values) / mine;
    return [`${shown(ratio)} × against ${name}, bar ${shown(atLeast)}: ${ratio >= atLeast ? "held" : "MISSED"}`];
  });
  if (limit !== undefined) bars.push(`bar ${shown(limit)} ${unit}: ${mine <= limit ? "held" : "MISSED"}`);
  return bars.join("; ");
}

/** One Markdown table: medians, ranges where there are several values, and the bars. */
export function renderCases(cases: readonly CaseRow[]): string {
  // A tool that was left out has no values.
  const rows = cases.map((row) => ({ ...row, others: row.others.filter(({ values }) => values.length > 0) }));
  const range = (values: readonly number[]): string =>
    values.length > 1 ? ` (${shown(Math.min(...values))}–${shown(Math.max(...values))})` : "";
  const lines = rows.map((row) => {
    const others = row.others.map(({ name, values }) => `${name} ${shown(median(values))}`).join(", ");
    return `| ${row.what} | ${shown(median(row.ours))} ${row.unit}${range(row.ours)} | ${others || "–"} | ${verdictOf(row) || "–"} |`;
  });
  return ["| case | godwit | others | bars |", "| --- | --- | --- | --- |", ...lines, ""].join("\n");
}
