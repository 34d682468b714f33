import { raceAbort } from "@godwit/core";
import type { HostShell } from "../ports/shell.ts";

/** The longest that a host may take to answer, milliseconds. */
const answerMs = 20_000;

interface Waiting {
  readonly line: string;
  readonly answer: PromiseWithResolvers<string>;
}

/**
 * A script that reads lines and answers each with one of its own. Who asks a host while others wait for its answer is
 * asked for together with whoever else does: the plans of a drain ask much at once, and a command costs more than a line.
 */
export class LineQuestions {
  readonly #script: string;
  readonly #hosts = new WeakMap<HostShell, { waiting: Waiting[]; asking: boolean }>();

  constructor(script: string) {
    this.#script = script;
  }

  /** One answer for each line, in their order; an empty one where the script said nothing, and for what is no line. Rejects as the shell does. */
  async ask(shell: HostShell, lines: readonly string[], signal: AbortSignal): Promise<string[]> {
    signal.throwIfAborted();
    const host = this.#hosts.get(shell) ?? { waiting: [], asking: false };
    this.#hosts.set(shell, host);
    const asked = lines.map((line) => ({ line, answer: Promise.withResolvers<string>() }));
    for (const one of asked) {
      // More than a line would move everybody else's answers.
      if (one.line.includes("\n")) one.answer.resolve("");
      else host.waiting.push(one);
    }
    const answers = Promise.all(asked.map(({ answer }) => answer.promise));
    if (!host.asking) void this.#work(shell, host);
    return await raceAbort(answers, signal);
  }

  async #work(shell: HostShell, host: { waiting: Waiting[]; asking: boolean }): Promise<void> {
    host.asking = true;
    while (host.waiting.length > 0) {
      const asked = host.waiting.splice(0);
      try {
        const stdin = asked.map(({ line }) => `${line}\n`).join("");
        const { stdout } = await shell.run(["/bin/sh", "-c", this.#script], { signal: AbortSignal.timeout(answerMs), stdin });
        const told = stdout.split("\n");
        for (const [at, { answer }] of asked.entries()) answer.resolve(told[at] ?? "");
      } catch (error) {
        for (const { answer } of asked) answer.reject(error);
      }
    }
    host.asking = false;
  }
}
