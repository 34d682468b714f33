import assert from "node:assert/strict";
import { test } from "node:test";
import { abortReason, CancelledError, type JsonObject } from "@godwit/core";
import { EngineError, isFinal, type JobContext, type JobKind, type JobRecord, JobRunner, refusal, StoreError } from "../../src/index.ts";
import { FakeClock, settle } from "./fake-clock.ts";
import { type Faults, JobMemory, MemoryJobStore } from "./memory-store.ts";

type Run = (context: JobContext<JsonObject>) => Promise<unknown>;

function kindOf(run: Run, extra: Partial<JobKind> = {}): JobKind {
  return {
    kind: "try",
    title: (input) => `Try ${JSON.stringify(input["n"])}`,
    subject: () => ({ type: "vm", id: "vm-1", name: "web" }),
    locks: (input) => [`vm:${JSON.stringify(input["vm"] ?? 1)}`],
    slots: () => [],
    run,
    ...extra,
  };
}

interface Rig {
  readonly runner: JobRunner;
  readonly clock: FakeClock;
  readonly store: MemoryJobStore;
}

interface RigOptions {
  readonly memory?: JobMemory;
  readonly clock?: FakeClock;
  readonly owner?: string;
  readonly exclusive?: boolean;
  readonly faults?: Faults;
  readonly kinds?: readonly JobKind[];
}

let ids = 0;
async function rig(run: Run | JobKind, options: RigOptions = {}): Promise<Rig> {
  const clock = options.clock ?? new FakeClock();
  const store = new MemoryJobStore(options.memory ?? new JobMemory(), {
    exclusive: options.exclusive ?? true,
    ...(options.faults ? { faults: options.faults } : {}),
  });
  const runner = new JobRunner({
    store,
    clock,
    owner: options.owner ?? "one",
    kinds: options.kinds ?? [typeof run === "function" ? kindOf(run) : run],
    log: { info: () => undefined, warn: () => undefined },
    newId: () => `job-${(ids += 1)}`,
  });
  await runner.start();
  return { runner, clock, store };
}

async function end(runner: JobRunner, id: string): Promise<JobRecord> {
  const all = await Array.fromAsync(runner.watch(id, { signal: AbortSignal.timeout(30_000) }));
  const last = all.at(-1);
  assert.ok(last && isFinal(last.state), `not ended: ${last?.state}`);
  return last;
}

const untilAborted: Run = ({ signal }) =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(abortReason(signal));
    else signal.addEventListener("abort", () => reject(abortReason(signal)));
  });

test("a job's steps, notes, reasons, log and result are in the store when it is done", async () => {
  const memory = new JobMemory();
  const { runner, store } = await rig(
    async (context) => {
      context.log("info", "hello");
      await context.note("port", 49152);
      await context.reason({ code: "network", text: "the first in order" });
      return context.step("copy", async () => ({ bytes: 7 }));
    },
    { memory },
  );
  const { id, state } = await runner.submit("try", { n: 1 });
  assert.equal(state, "queued");
  const job = await end(runner, id);
  const kept = await store.get(id);
  assert.equal(kept?.state, "done");
  assert.deepEqual(kept?.result, { bytes: 7 });
  assert.deepEqual(
    kept?.steps.map(({ name, state, output }) => [name, state, output]),
    [
      ["port", "done", 49152],
      ["copy", "done", { bytes: 7 }],
    ],
  );
  assert.deepEqual(
    job.log.map(({ text }) => text),
    ["hello"],
  );
  assert.equal(kept?.lease, undefined);
  await runner.stop();
});

test("an error ends the job with its kind, the whole chain of causes, and the checks of a refusal", async () => {
  const errors = [
    new EngineError("hypervisor", "beta refused", {}, { cause: new Error("no memory") }),
    refusal("web may not move", [{ id: "cpu", verdict: "fail", text: "no avx2", remedy: "use another host" }]),
    new TypeError("oops"),
  ];
  const { runner } = await rig(() => Promise.reject(errors.shift() ?? new Error("none left")));
  const outcomes = [];
  for (let n = 0; n < 3; n += 1) outcomes.push((await end(runner, (await runner.submit("try", { n })).id)).error);
  assert.deepEqual(outcomes[0], { kind: "hypervisor", message: "beta refused: no memory" });
  assert.equal(outcomes[1]?.kind, "refused");
  assert.equal(outcomes[1]?.checks?.[0]?.id, "cpu");
  assert.deepEqual(outcomes[2], { kind: "internal", message: "oops" });
  await runner.stop();
});

test("a cancellation that nobody asked for is a failure", async () => {
  const { runner } = await rig(() => Promise.reject(new CancelledError("lost patience")));
  assert.equal((await end(runner, (await runner.submit("try", {})).id)).state, "failed");
  await runner.stop();
});

test("a queued job says what it waits for, is cancelled at once, and never runs", async () => {
  const ran: unknown[] = [];
  const { runner } = await rig(async (context) => {
    ran.push(context.input["n"]);
    return untilAborted(context);
  });
  const first = await runner.submit("try", { n: 1 });
  const second = await runner.submit("try", { n: 2 });
  await settle();
  assert.deepEqual((await runner.get(second.id)).waitingFor, [{ code: "behind-job", text: `waits until job ${first.id} (Try 1) ended` }]);
  assert.equal((await runner.cancel(second.id)).state, "cancelled");
  assert.equal((await runner.cancel(first.id)).state, "cancelling");
  assert.equal((await end(runner, first.id)).state, "cancelled");
  assert.deepEqual(ran, [1]);
  await runner.stop();
});

test("a changed limit counts at the next look", async () => {
  let limit = 0;
  const slot = { name: "live", label: "live migrations on alpha", limit: async () => limit };
  const { runner } = await rig(kindOf(untilAborted, { slots: () => [slot], locks: () => [] }));
  const jobs = [await runner.submit("try", { n: 1 }), await runner.submit("try", { n: 2 })];
  await settle();
  assert.equal((await runner.get(jobs[0]!.id)).waitingFor[0]?.text, "live migrations on alpha are limited to 0");
  limit = 1;
  runner.nudge();
  await settle();
  assert.deepEqual(
    runner.unfinished().map(({ state }) => state),
    ["running", "queued"],
  );
  await runner.stop();
});

test("a job may give its slots to others before its end", async () => {
  const slot = { name: "live", label: "live migrations on alpha", limit: async () => 1 };
  const arrived = Promise.withResolvers<void>();
  const run = async (context: JobContext<JsonObject>): Promise<unknown> => {
    if (context.input["n"] === 1) {
      await arrived.promise;
      context.freeSlots();
    }
    return await untilAborted(context);
  };
  const { runner } = await rig(kindOf(run, { slots: () => [slot], locks: () => [] }));
  for (const n of [1, 2, 3]) await runner.submit("try", { n });
  const states = async (): Promise<string[]> => {
    await settle();
    return runner.unfinished().map(({ state }) => state);
  };
  assert.deepEqual(await states(), ["running", "queued", "queued"]);
  arrived.resolve();
  assert.deepEqual(await states(), ["running", "running", "queued"]);
  await runner.stop();
});

test("after a cancel the undoing can still be written down", async () => {
  const { runner } = await rig(async (context) => {
    try {
      return await context.step("copy", () => untilAborted(context));
    } catch (error) {
      assert.equal(context.stopping.aborted, false);
      await context.step("undo", async () => "gone");
      throw error;
    }
  });
  const { id } = await runner.submit("try", {});
  await settle();
  await runner.cancel(id);
  const job = await end(runner, id);
  assert.equal(job.state, "cancelled");
  assert.deepEqual(
    job.steps.map(({ name, state }) => `${name} ${state}`),
    ["copy failed", "undo done"],
  );
  await runner.stop();
});

test("a stop leaves the job running; the next server resumes it, and completed steps do not run again", async () => {
  const memory = new JobMemory();
  const copies: number[] = [];
  const attempts: number[] = [];
  const run: Run = async (context) => {
    attempts.push(context.attempt);
    await context.step("copy", async () => copies.push(1));
    return context.attempt === 1 ? untilAborted(context) : "found it";
  };
  const before = await rig(run, { memory, owner: "one" });
  const { id } = await before.runner.submit("try", {});
  await settle();
  await before.runner.stop();
  assert.equal((await before.store.get(id))?.state, "running");
  const after = await rig(run, { memory, owner: "two" });
  const job = await end(after.runner, id);
  assert.deepEqual([job.state, job.result, attempts, copies.length], ["done", "found it", [1, 2], 1]);
  await after.runner.stop();
});

test("a cancel survives a crash: the next attempt begins with its signal fired", async () => {
  const memory = new JobMemory();
  const hang: Run = () => new Promise(() => undefined);
  const before = await rig(hang, { memory, owner: "one" });
  const { id } = await before.runner.submit("try", {});
  await settle();
  await before.runner.cancel(id);
  const after = await rig(untilAborted, { memory, owner: "two" });
  const job = await end(after.runner, id);
  assert.deepEqual([job.state, job.attempt, job.cancelRequested], ["cancelled", 2, true]);
  await after.runner.stop();
});

test("a kind that a downgraded server does not know ends with that reason", async () => {
  const memory = new JobMemory();
  const before = await rig(() => new Promise(() => undefined), { memory, owner: "one" });
  const { id } = await before.runner.submit("try", {});
  await settle();
  const after = await rig(untilAborted, { memory, owner: "two", kinds: [] });
  const job = await end(after.runner, id);
  assert.equal(job.error?.kind, "unknown-job-kind");
  assert.match(job.error?.message ?? "", /'try'.*attempt 1 was interrupted/);
  await after.runner.stop();
});

test("a watcher that does not read sees the newest state, and costs one record", async () => {
  const { runner, store } = await rig(async (context) => {
    for (let i = 0; i <= 5000; i += 1) context.progress({ phase: "copying", fraction: i / 5000 });
    return untilAborted(context);
  });
  const all = runner.watchAll({ signal: AbortSignal.timeout(30_000) })[Symbol.asyncIterator]();
  const { id } = await runner.submit("try", {});
  await settle();
  const seen = await all.next();
  assert.equal(!seen.done && seen.value.progress?.fraction, 1);
  assert.ok(store.writes < 8, `progress is not written each time: ${store.writes} writes`);
  await runner.cancel(id);
  await runner.stop();
});

test("progress reaches the store at most once a second", async () => {
  const { runner, store, clock } = await rig(async (context) => {
    for (let i = 0; i < 100; i += 1) {
      context.progress({ phase: "copying", fraction: i / 100 });
      await clock.sleep(100, context);
    }
  });
  const { id } = await runner.submit("try", {});
  await settle();
  const before = store.writes;
  await clock.advance(9000);
  const writes = store.writes - before;
  assert.ok(writes <= 10 && writes >= 8, `${writes} writes in 9 s`);
  assert.ok(((await store.get(id))?.progress?.fraction ?? 0) > 0.7);
  await runner.stop();
});

test("the log keeps its last 1,000 lines", async () => {
  const { runner } = await rig(async (context) => {
    for (let i = 0; i < 3000; i += 1) context.log("info", `line ${i}`);
  });
  const job = await end(runner, (await runner.submit("try", {})).id);
  assert.equal(job.log.length, 1000);
  assert.equal(job.log.at(-1)?.text, "line 2999");
  await runner.stop();
});

test("the same idempotency key gives the same job, also after it ended; another input is a conflict", async () => {
  const { runner } = await rig(async () => "x");
  const jobs = await Promise.all([1, 2, 3].map(() => runner.submit("try", { n: 1 }, { idempotencyKey: "k" })));
  assert.equal(new Set(jobs.map(({ id }) => id)).size, 1);
  await end(runner, jobs[0]!.id);
  assert.equal((await runner.submit("try", { n: 1 }, { idempotencyKey: "k" })).state, "done");
  await assert.rejects(
    runner.submit("try", { n: 2 }, { idempotencyKey: "k" }),
    (error) => error instanceof StoreError && error.kind === "conflict",
  );
  await runner.stop();
});

test("a full disk fails no job that is at its end: the end is saved once there is room", async () => {
  let full = false;
  const faults: Faults = {
    beforeWrite: async () => {
      if (full) throw new StoreError("full", "no space left");
    },
  };
  const { runner, clock } = await rig(
    async () => {
      full = true;
      return "moved";
    },
    { faults },
  );
  const { id } = await runner.submit("try", {});
  await clock.advance(2000);
  assert.equal((await runner.get(id)).state, "running", "nobody sees an end that is not durable");
  full = false;
  await clock.advance(4000);
  assert.deepEqual([(await runner.get(id)).state, (await runner.get(id)).result], ["done", "moved"]);
  await runner.stop();
});

test("several servers: a job goes to another one only after its holder was silent for the whole lease", async () => {
  const memory = new JobMemory();
  const clock = new FakeClock();
  const one = await rig(untilAborted, { memory, clock, owner: "one", exclusive: false });
  const { id } = await one.runner.submit("try", {});
  const two = await rig(untilAborted, { memory, clock, owner: "two", exclusive: false });
  await clock.advance(120_000);
  clock.jump(86_400_000);
  await clock.advance(120_000);
  clock.jump(-2 * 86_400_000);
  await clock.advance(120_000);
  assert.deepEqual([one.runner.unfinished().length, two.runner.unfinished().length], [1, 0], "clock jumps end no lease");
  await one.runner.stop();
  await clock.advance(25_000);
  assert.equal(two.runner.unfinished().length, 0);
  await clock.advance(20_000);
  assert.deepEqual([two.runner.unfinished()[0]?.id, two.runner.unfinished()[0]?.attempt], [id, 2]);
  await two.runner.stop();
});

test("a server that cannot renew lets go before another one takes over, and may then write nothing more", async () => {
  const memory = new JobMemory();
  const clock = new FakeClock();
  let cut = false;
  const events: string[] = [];
  const faults: Faults = {
    beforeWrite: async () => {
      if (cut) throw new StoreError("io", "connection lost");
    },
  };
  const run =
    (name: string): Run =>
    async (context) => {
      events.push(`${name} runs`);
      try {
        return await untilAborted(context);
      } catch (error) {
        events.push(`${name}: ${(error as Error).name}`);
        await assert.rejects(context.note("late", 1), { name: (error as Error).name });
        throw error;
      }
    };
  const one = await rig(run("one"), { memory, clock, owner: "one", exclusive: false, faults });
  const two = await rig(run("two"), { memory, clock, owner: "two", exclusive: false });
  await one.runner.submit("try", {});
  await clock.advance(30_000);
  cut = true;
  await clock.advance(90_000);
  assert.deepEqual(events, ["one runs", "one: LeaseLost", "two runs"]);
  cut = false;
  await one.runner.stop();
  await two.runner.stop();
  assert.deepEqual(events, ["one runs", "one: LeaseLost", "two runs", "two: ServerStopping"]);
});
