import type { MovesResult } from "@godwit/api";
import { renderTable } from "./table.ts";
import { formatDuration } from "./units.ts";

/** What the moves of a drain, a resume or a balance came to, each with its proof. */
export function movesTable(result: MovesResult): string {
  const table = renderTable(
    [
      { title: "VM", value: (row) => row.vm },
      { title: "TO", value: (row) => row.destination },
      { title: "OUTCOME", value: (row) => row.outcome },
      { title: "NETWORK", value: (row) => row.network },
      { title: "TIME", value: (row) => row.totalMs && formatDuration(row.totalMs), align: "right" },
      { title: "FORETOLD", value: (row) => row.predictedMs && formatDuration(row.predictedMs), align: "right" },
      { title: "PAUSE", value: (row) => row.pauseMs && formatDuration(row.pauseMs), align: "right" },
      { title: "PROOF", value: (row) => row.proof ?? row.error?.message },
    ],
    result.moves,
  );
  const left = result.left.map(({ vm, reason }) => `${vm} was left: ${reason}\n`).join("");
  const foretold = result.predictedMs === undefined ? "" : `, foretold ${formatDuration(result.predictedMs)}`;
  return `${table}${left}all in ${formatDuration(result.totalMs)}${foretold}\n`;
}
