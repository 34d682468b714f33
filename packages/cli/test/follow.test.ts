import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Client, Job } from "@godwit/api";
import type { Context } from "../src/context.ts";
import { CliError, codeOfError, exitCode } from "../src/exit.ts";
import { followJob } from "../src/jobs.ts";

const job = (state: string): Job => ({ id: "j1", title: "migrate web", state, waitingFor: [] }) as unknown as Job;
const terminal = { write: () => undefined, isTerminal: false, columns: 80 };

function contextOf(client: Pick<Client, "stream" | "call">): Context {
  return { client: client as Client, format: "table", out: terminal, err: terminal, signal: new AbortController().signal };
}

const failing = (error: Error): AsyncIterable<Job> => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error) }) });

describe("following a job", () => {
  it("goes on when the server that restarts is back", async () => {
    const streams = [
      async function* () {
        yield job("running");
        throw Object.assign(new Error("aborted"), { code: "ECONNRESET" });
      },
      () => failing(new CliError(exitCode.failed, "no Godwit server answers")),
      async function* () {
        yield job("done");
      },
    ];
    const client = { stream: () => streams.shift()?.(), call: () => assert.fail("it was told") } as unknown as Client;
    assert.equal((await followJob(contextOf(client), job("queued"))).state, "done");
    assert.equal(streams.length, 0);
  });

  it("that is only watched ends as cancelled when that is ended, though the cut connection says otherwise", async () => {
    const stop = new AbortController();
    const client = {
      async *stream(_: string, { signal }: { readonly signal: AbortSignal }) {
        yield job("running");
        stop.abort();
        assert.ok(signal.aborted);
        throw Object.assign(new Error("aborted"), { code: "ECONNRESET" });
      },
    } as unknown as Client;
    const watching = followJob({ ...contextOf(client), signal: stop.signal }, job("queued"), "leave");
    assert.equal(await watching.then(() => exitCode.done, codeOfError), exitCode.cancelled);
  });

  it("ends at once with what the server says of it", async () => {
    const gone = Object.assign(new Error("there is no job"), { name: "ApiError", problem: { status: 404, kind: "not-found" } });
    const client = { stream: () => failing(gone) } as unknown as Client;
    await assert.rejects(followJob(contextOf(client), job("queued")), gone);
  });
});
