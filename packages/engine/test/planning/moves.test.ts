import assert from "node:assert/strict";
import { test } from "node:test";
import type { JobRecord } from "../../src/index.ts";
import { runMoves } from "../../src/planning/moves.ts";
import { FakeClock } from "../jobs/fake-clock.ts";

/** The job that moves belong to; what it notes and logs goes into these. */
function contextOf(notes = new Map<string, unknown>(), log: string[] = []): Parameters<typeof runMoves>[0] {
  const { signal } = new AbortController();
  return {
    id: "drain",
    signal,
    stopping: signal,
    recorded: () => undefined,
    note: async (name, output) => void notes.set(name, output),
    progress: () => undefined,
    log: (_level, text) => void log.push(text),
  };
}

test("a move that does not end within its patience is cancelled, and its end is waited for", async () => {
  const clock = new FakeClock();
  const end = Promise.withResolvers<void>();
  let cancelled = false;
  const record = (state: string): JobRecord =>
    ({
      id: "j1",
      state,
      waitingFor: [],
      steps: [],
      error: { kind: "cancelled", message: "cancelled; web runs on alpha" },
    }) as unknown as JobRecord;
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
  const move = { vmId: "v1", vm: "web", destinationId: "h2", destination: "bravo", input: { vmId: "v1" }, predictedMs: 10 * 60_000 };
  const ended: string[] = [];
  const running = runMoves(contextOf(notes, log), [move], {
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

test("the next move begins when a VM has arrived, while its source is tidied up; all ends are waited for", async () => {
  const clock = new FakeClock();
  const tidied = Promise.withResolvers<void>();
  const submitted: string[] = [];
  const record = (id: string, more: Partial<JobRecord>): JobRecord =>
    ({ id, state: "running", waitingFor: [], steps: [], result: { network: "migration" }, ...more }) as unknown as JobRecord;
  const jobs = {
    submit: async (_kind: string, input: JobRecord["input"]) => {
      submitted.push(input["vmId"] as string);
      return record(input["vmId"] as string, {});
    },
    get: async (id: string) => record(id, {}),
    cancel: async (id: string) => record(id, {}),
    async *watch(id: string) {
      yield record(id, { steps: [{ name: "phase:confirm", state: "done", startedAt: "" }] });
      if (id === "v1") await tidied.promise;
      yield record(id, { state: "done" });
    },
    list: async () => [],
  };
  const moves = ["v1", "v2"].map((vmId) => ({ vmId, vm: vmId, destinationId: "h2", destination: "bravo", input: { vmId } }));
  const ended: string[] = [];
  const second = Promise.withResolvers<void>();
  const running = runMoves(contextOf(), moves, {
    jobs,
    clock,
    concurrency: 1,
    batch: "1",
    ended: async ({ vmId }) => {
      ended.push(vmId);
      if (vmId === "v2") second.resolve();
    },
  });
  await second.promise;
  assert.deepEqual([submitted, ended], [["v1", "v2"], ["v2"]]);
  tidied.resolve();
  assert.deepEqual(
    (await running).map(({ vmId, outcome }) => `${vmId} ${outcome}`),
    ["v1 moved", "v2 moved"],
  );
  assert.deepEqual(ended, ["v2", "v1"]);
});
