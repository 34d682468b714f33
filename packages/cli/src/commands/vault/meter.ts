import type { Terminal } from "../../context.ts";
import { printable } from "../../output/table.ts";
import { formatBytes, formatDuration } from "../../output/units.ts";

const terminalEvery = 100;
const lineEvery = 10_000;

/**
 * Shows how far a long command is: one line that is rewritten on a terminal, a line now and then
 * elsewhere. Close it before anything else is printed.
 */
export class Meter implements Disposable {
  readonly #terminal: Terminal;
  readonly #now: () => number;
  readonly #began: number;
  #last: number;
  #live = false;

  constructor(terminal: Terminal, now: () => number = () => performance.now()) {
    this.#terminal = terminal;
    this.#now = now;
    this.#began = now();
    this.#last = this.#began - (terminal.isTerminal ? terminalEvery : 0);
  }

  /** `total` is 0 when nobody knows. `note` adds what else is worth knowing. */
  show(what: string, done: number, total: number, note = ""): void {
    const now = this.#now();
    if (now - this.#last < (this.#terminal.isTerminal ? terminalEvery : lineEvery)) return;
    this.#last = now;
    const share = total > 0 ? `${String(Math.floor((done / total) * 100)).padStart(3)} % ` : "";
    const rate = formatBytes(done / Math.max(0.001, (now - this.#began) / 1000));
    const left = total > 0 && done > 0 ? `, ${formatDuration(((now - this.#began) * (total - done)) / done)} to go` : "";
    const line = `${what}: ${share}${formatBytes(done)}${total > 0 ? ` of ${formatBytes(total)}` : ""}, ${rate}/s${left}${note && `, ${note}`}`;
    if (!this.#terminal.isTerminal) return this.#terminal.write(`${printable(line)}\n`);
    this.#terminal.write(`\r\u001b[2K${printable(line).slice(0, Math.max(20, this.#terminal.columns - 1))}`);
    this.#live = true;
  }

  [Symbol.dispose](): void {
    if (this.#live) this.#terminal.write("\r\u001b[2K");
    this.#live = false;
  }
}
