import assert from "node:assert/strict";
import { test } from "node:test";
import { anySignal, type Clock, type JsonObject, raceAbort, systemClock } from "@godwit/core";
import { isFinal, type JobContext, type JobKind, type JobRecord, JobRunner } from "../../src/index.ts";
import { JobMemory, MemoryJobStore } from "./memory-store.ts";

/** One run of a kind against a fresh world. */
export interface JobTrial {
  readonly kind: JobKind;
  readonly input: JsonObject;
  /** Must hold however often the job was interrupted, and in whatever final state it ended. */
  verify(job: JobRecord): Promise<void> | void;
}

export interface JobKindTrialOptions {
  /** A fresh world for each trial. */
  setup(): Promise<JobTrial> | JobTrial;
  readonly clock?: Clock;
  /** Per trial. */
  readonly deadlineMs?: number;
}

const silent = { info: () => undefined, warn: () => undefined };
const never = (): Promise<never> => new Promise(() => undefined);

/**
 * Three promises that every kind of job must keep: it may die at every step and be resumed, every step may run
 * twice, and it may be cancelled at every step. Deaths happen between what the job does and what is written
 * down about it, before and after every single write.
 */
export function jobKindContract(name: string, options: JobKindTrialOptions): void {
  test(`${name}: dies before and after every write, is resumed, and ends well`, async () => {
    const { writes } = await clean(options);
    assert.ok(writes >= 3, "created, begun and ended are written at least");
    for (let n = 2; n <= writes; n += 1) {
      for (const moment of ["beforeWrite", "afterWrite"] as const) {
        await dieAndResume(options, n, moment);
      }
    }
  });

  test(`${name}: every step repeated is harmless`, async () => {
    const trial = await options.setup();
    const twice = wrapSteps(trial.kind, async (body) => {
      await body();
      return body();
    });
    const job = await finish(options, twice, trial.input);
    assert.equal(job.state, "done", job.error?.message);
    await trial.verify(job);
  });

  test(`${name}: cancelled at every step, before and after it ran, it leaves the world whole`, async () => {
    const { steps } = await clean(options);
    for (const target of steps) {
      for (const after of [false, true]) await cancelAt(options, target, after);
    }
  });
}

async function clean(options: JobKindTrialOptions): Promise<{ writes: number; steps: string[] }> {
  const trial = await options.setup();
  const memory = new JobMemory();
  const store = new MemoryJobStore(memory);
  await using runner = newRunner(options, store, trial.kind, "first");
  await runner.start();
  const { id } = await runner.submit(trial.kind.kind, trial.input);
  const job = await ended(options, runner, id);
  assert.equal(job.state, "done", job.error?.message);
  await trial.verify(job);
  return { writes: store.writes, steps: job.steps.map((step) => step.name) };
}

async function dieAndResume(options: JobKindTrialOptions, n: number, moment: "beforeWrite" | "afterWrite"): Promise<void> {
  const trial = await options.setup();
  const memory = new JobMemory();
  const died = Promise.withResolvers<void>();
  const die = (at: number): Promise<void> => {
    if (at < n) return Promise.resolve();
    died.resolve();
    return never();
  };
  const killed = new AbortController();
  const mortal = { ...options, clock: mortalClock(options.clock ?? systemClock, killed.signal) };
  const doomed = newRunner(mortal, new MemoryJobStore(memory, { faults: { [moment]: die } }), trial.kind, "doomed");
  await doomed.start();
  // How often progress is written depends on time, so this run may end before its n-th write.
  const wholeRun = doomed.submit(trial.kind.kind, trial.input).then(({ id }) => ended(options, doomed, id));
  await raceAbort(Promise.race([died.promise, wholeRun]), AbortSignal.timeout(options.deadlineMs ?? 30_000));
  killed.abort();
  await using runner = newRunner(options, new MemoryJobStore(memory), trial.kind, "next");
  await runner.start();
  const id = [...memory.rows.keys()][0];
  if (id === undefined) return;
  const job = await ended(options, runner, id);
  const where = `death at write ${n} (${moment})`;
  assert.ok(job.state === "done" || job.state === "failed", `${where}: ${job.state}`);
  await trial.verify(job);
}

async function cancelAt(options: JobKindTrialOptions, target: string, after: boolean): Promise<void> {
  const trial = await options.setup();
  const store = new MemoryJobStore(new JobMemory());
  let cancel = (): Promise<unknown> => Promise.resolve();
  const kind = wrapSteps(trial.kind, async (body, step) => {
    if (step === target && !after) await cancel();
    const output = await body();
    if (step === target && after) await cancel();
    return output;
  });
  await using runner = newRunner(options, store, kind, "first");
  await runner.start();
  const ready = Promise.withResolvers<string>();
  cancel = async () => runner.cancel(await ready.promise);
  ready.resolve((await runner.submit(kind.kind, trial.input)).id);
  const job = await ended(options, runner, await ready.promise);
  assert.ok(job.state === "cancelled" || job.state === "done", `cancelled at '${target}': ${job.state}: ${job.error?.message}`);
  await trial.verify(job);
}

/** A clock whose sleepers are never heard of again once their process was killed. */
function mortalClock(clock: Clock, killed: AbortSignal): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    async sleep(ms, { signal } = {}) {
      try {
        await clock.sleep(ms, { signal: anySignal(signal, killed) });
      } catch (error) {
        if (killed.aborted) await never();
        throw error;
      }
    },
  };
}

type Around = (body: () => Promise<unknown>, step: string) => Promise<unknown>;

function wrapSteps(kind: JobKind, around: Around): JobKind {
  return {
    kind: kind.kind,
    title: (input) => kind.title(input),
    subject: (input) => kind.subject(input),
    locks: (input) => kind.locks(input),
    slots: (input) => kind.slots(input),
    run: (context) => kind.run(withSteps(context, around)),
  };
}

function withSteps(context: JobContext<JsonObject>, around: Around): JobContext<JsonObject> {
  const step = async <T>(name: string, body: () => Promise<T>): Promise<T> =>
    context.step(name, async () => (await around(body, name)) as T);
  return Object.create(context, { step: { value: step } }) as JobContext<JsonObject>;
}

async function finish(options: JobKindTrialOptions, kind: JobKind, input: JsonObject): Promise<JobRecord> {
  await using runner = newRunner(options, new MemoryJobStore(new JobMemory()), kind, "first");
  await runner.start();
  const { id } = await runner.submit(kind.kind, input);
  return await ended(options, runner, id);
}

function newRunner(options: JobKindTrialOptions, store: MemoryJobStore, kind: JobKind, owner: string): JobRunner {
  return new JobRunner({ store, clock: options.clock ?? systemClock, owner, kinds: [kind], log: silent });
}

async function ended(options: JobKindTrialOptions, runner: JobRunner, id: string): Promise<JobRecord> {
  const signal = AbortSignal.timeout(options.deadlineMs ?? 30_000);
  let last: JobRecord | undefined;
  for await (const job of runner.watch(id, { signal })) last = job;
  assert.ok(last && isFinal(last.state), `the job did not end in time: ${JSON.stringify(last?.steps)}`);
  return last;
}
