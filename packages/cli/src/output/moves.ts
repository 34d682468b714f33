import type { MovesResult } from "@godwit/api";
import { renderTable } from "./table.ts";
import { formatDuration } from "./units.ts";

/** What the moves of a drain, a resume or a balance came to, each with its proof. */
export function movesTable(result: MovesResult): string {
  const told = result.moves.some(({ why }) => why !== undefined);
  const table = renderTable(
    [
      { title: "VM", value: (row) => row.vm },
      { title: "TO", value: (row) => row.destination },
      { title: "OUTCOME", value: (row) => row.outcome },
      { title: "NETWORK", value: (row) => row.network },
      { title: "TIME", value: (row) => row.totalMs && formatDuration(row.totalMs), align: "right" },
      { title: "FORETOLD", value: (row) => row.predictedMs && formatDuration(row.predictedMs), align: "right" },
      { title: "PAUSE", value: (row) => row.pauseMs && formatDuration(row.pauseMs), align: "right" },
      ...(told ? [{ title: "WHY THERE", value: (row: MovesResult["moves"][number]) => row.why }] : []),
      { title: "PROOF", value: (row) => row.proof ?? row.error?.message },
    ],
    result.moves,
  );
  const atLast = result.moves.flatMap((row) => (row.atLast === undefined ? [] : [`${row.vm}: ${row.atLast}\n`])).join("");
  const broken = result.moves.flatMap(({ vm, pauseMs = 0, promisedPauseMs = Infinity }) =>
    pauseMs > promisedPauseMs ? [`${vm}: promised at most ${formatDuration(promisedPauseMs)}, NOT held\n`] : [],
  );
  const left = result.left.map(({ vm, reason }) => `${vm} was left: ${reason}\n`).join("");
  const foretold = result.predictedMs === undefined ? "" : `, foretold ${formatDuration(result.predictedMs)}`;
  return `${table}${atLast}${broken.join("")}${left}all in ${formatDuration(result.totalMs)}${foretold}\n`;
}
