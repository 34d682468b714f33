import assert from "node:assert/strict";
import { test } from "node:test";
import type { JobRecord } from "../../src/index.ts";
import { runMoves } from "../../src/planning/moves.ts";
import { FakeClock } from "../jobs/fake-clock.ts";

test("a move that does not end within its patience is cancelled, and its end is waited for", async () => {
  const clock = new FakeClock();
  const end = Promise.withResolvers<void>();
  let cancelled = false;
  const record = (state: string): JobRecord =>
    ({ id: "j1", state, waitingFor: [], error: { kind: "cancelled", message: "cancelled; web runs on alpha" } }) as unknown as JobRecord;
  const jobs = {
    submit: async () => record("running"),
    get: async () => record(cancelled ? "cancelled" : "running"),
    cancel: async () => {
      cancelled = true;
      end.resolve();
      return record("cancelling");
    },
    async *watch() {
      yield { ...record("queued"), waitingFor: [{ code: "behind-job", text: "waits until job c1 (capture web) ended" }] };
      await end.promise;
      yield record("cancelled");
    },
    list: async () => [],
  };
  const notes = new Map<string, unknown>();
  const log: string[] = [];
  const signal = new AbortController().signal;
  const context = {
    id: "drain",
    signal,
    stopping: signal,
    recorded: () => undefined,
    note: async (name: string, output: unknown) => void notes.set(name, output),
    progress: () => undefined,
    log: (_level: string, text: string) => void log.push(text),
  };
  const move = { vmId: "v1", vm: "web", destinationId: "h2", destination: "bravo", input: { vmId: "v1" }, predictedMs: 10 * 60_000 };
  const ended: string[] = [];
  const running = runMoves(context, [move], {
    jobs,
    clock,
    concurrency: 2,
    batch: "1",
    ended: async ({ outcome }) => void ended.push(outcome),
  });
  await clock.advance(49 * 60_000);
  assert.equal(cancelled, false, "five times what was foretold");
  await clock.advance(2 * 60_000);
  const [outcome] = await running;
  assert.deepEqual([outcome?.outcome, outcome?.error?.message], ["cancelled", "cancelled; web runs on alpha"]);
  assert.deepEqual([ended, [...notes.keys()]], [["cancelled"], ["migrate:1:v1"]]);
  assert.match(log.join(), /web waits: waits until job c1 \(capture web\) ended/);
  assert.match(log.join(), /web has not moved within 50 minutes: given up/);
});
