import type { Job } from "@godwit/api";
import type { Terminal } from "./context.ts";
import { printable } from "./output/table.ts";
import { formatBytes, formatDuration } from "./output/units.ts";

/** The figures of a job's progress on one line, without the bar. */
export function progressText(job: Job): string {
  const { progress } = job;
  if (job.state === "queued") return `queued: ${job.waitingFor.map((reason) => reason.text).join("; ") || "about to start"}`;
  if (!progress) return job.state;
  const parts = [progress.phase];
  if (progress.memoryRemainingBytes !== undefined) parts.push(`memory left ${formatBytes(progress.memoryRemainingBytes)}`);
  if (progress.diskRemainingBytes !== undefined) parts.push(`disk left ${formatBytes(progress.diskRemainingBytes)}`);
  if (progress.bytesPerSecond !== undefined) parts.push(`${formatBytes(progress.bytesPerSecond)}/s`);
  if (progress.dirtyBytesPerSecond !== undefined) parts.push(`dirty ${formatBytes(progress.dirtyBytesPerSecond)}/s`);
  if (progress.remainingSeconds !== undefined) parts.push(`${formatDuration(progress.remainingSeconds * 1000)} to go`);
  return parts.join(", ");
}

function bar(fraction: number, width: number): string {
  const filled = Math.round(fraction * width);
  return `[${"█".repeat(filled)}${"░".repeat(width - filled)}] ${String(Math.floor(fraction * 100)).padStart(3)} %`;
}

/**
 * Shows a job while it runs: one line that is rewritten on a terminal, elsewhere a plain line whenever the
 * phase or the reason of a wait changes. `done()` leaves the terminal on a fresh line.
 */
export class ProgressDisplay {
  readonly #terminal: Terminal;
  #last = "";
  #live = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  show(job: Job): void {
    const text = printable(progressText(job));
    if (!this.#terminal.isTerminal) {
      const plain = printable(job.state === "queued" ? text : (job.progress?.phase ?? job.state));
      if (plain !== this.#last) this.#terminal.write(`${printable(job.title)}: ${plain}\n`);
      this.#last = plain;
      return;
    }
    const fraction = job.progress?.fraction;
    const line = fraction === undefined ? `${printable(job.title)}: ${text}` : `${bar(fraction, 24)} ${text}`;
    this.#terminal.write(`\r\u001b[2K${line.slice(0, Math.max(20, this.#terminal.columns - 1))}`);
    this.#live = true;
  }

  done(): void {
    if (this.#live) this.#terminal.write("\r\u001b[2K");
    this.#live = false;
  }
}
