import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LineQuestions } from "../../src/migration/line-questions.ts";
import type { HostShell } from "../../src/ports/shell.ts";

/** A shell that answers each line with itself, once it is let. */
function shell(): { readonly shell: HostShell; readonly commands: string[][]; answer(error?: Error): void } {
  const commands: string[][] = [];
  const waiting: PromiseWithResolvers<void>[] = [];
  const run: HostShell["run"] = async (_argv, { stdin = "" }) => {
    commands.push(stdin.split("\n").slice(0, -1));
    const mayAnswer = Promise.withResolvers<void>();
    waiting.push(mayAnswer);
    await mayAnswer.promise;
    return { code: 0, stdout: stdin.replaceAll(/^/gm, "said "), stderr: "" };
  };
  const answer = (error?: Error): void => {
    for (const one of waiting.splice(0)) {
      if (error) one.reject(error);
      else one.resolve();
    }
  };
  return { shell: { run } as HostShell, commands, answer };
}

const { signal } = new AbortController();

describe("questions of a line each to a host", () => {
  it("go at once, and those that are asked meanwhile go together", async () => {
    const host = shell();
    const questions = new LineQuestions("script");
    const first = questions.ask(host.shell, ["a"], signal);
    const others = [questions.ask(host.shell, ["b", "c"], signal), questions.ask(host.shell, ["d"], signal)];
    host.answer();
    assert.deepEqual(await first, ["said a"]);
    host.answer();
    assert.deepEqual(await Promise.all(others), [["said b", "said c"], ["said d"]]);
    assert.deepEqual(host.commands, [["a"], ["b", "c", "d"]]);
  });

  it("are not moved to others' places by one that is more than a line", async () => {
    const host = shell();
    const answers = new LineQuestions("script").ask(host.shell, ["a", "b\nc", "d"], signal);
    host.answer();
    assert.deepEqual(await answers, ["said a", "", "said d"]);
  });

  it("fail as the shell does, and do not keep others from asking later", async () => {
    const host = shell();
    const questions = new LineQuestions("script");
    const first = questions.ask(host.shell, ["a"], signal);
    host.answer(new Error("the host is gone"));
    await assert.rejects(first, /the host is gone/);
    const second = questions.ask(host.shell, ["b"], signal);
    host.answer();
    assert.deepEqual(await second, ["said b"]);
  });

  it("are not waited for by who gives up; others still get their answers", async () => {
    const host = shell();
    const questions = new LineQuestions("script");
    const tired = new AbortController();
    const [first, second] = [questions.ask(host.shell, ["a"], tired.signal), questions.ask(host.shell, ["b"], signal)];
    tired.abort(new Error("tired"));
    await assert.rejects(first, /tired/);
    host.answer();
    await new Promise((resolve) => setImmediate(resolve));
    host.answer();
    assert.deepEqual(await second, ["said b"]);
  });
});
