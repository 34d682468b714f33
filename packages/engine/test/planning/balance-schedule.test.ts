import assert from "node:assert/strict";
import { test } from "node:test";
import type { JobRecord } from "../../src/index.ts";
import { runBalanceSchedule } from "../../src/planning/balance-schedule.ts";
import { noPlacementSettings, type PlacementSettings } from "../../src/placement/rules.ts";
import { FakeClock } from "../jobs/fake-clock.ts";

test("balancing by schedule starts a job whenever one is due, never two at a time, and stops when it is told to", async () => {
  const clock = new FakeClock();
  const stop = new AbortController();
  const jobs: JobRecord[] = [];
  let settings: PlacementSettings = noPlacementSettings;
  let broken = false;
  const runner = {
    list: async () => {
      if (broken) throw new Error("the store is busy");
      return jobs.slice(-1);
    },
    submit: async (kind: string, input: JobRecord["input"]) => {
      const job = { kind, input, createdAt: new Date(clock.now()).toISOString() } as JobRecord;
      jobs.push(job);
      return job;
    },
  };
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined };
  const running = runBalanceSchedule({ settings: async () => settings, jobs: () => runner, clock, log }, stop.signal);
  const minutes = (count: number): Promise<void> => clock.advance(count * 60_000);
  const end = (): void => void (jobs[jobs.length - 1] = { ...jobs.at(-1)!, endedAt: new Date(clock.now()).toISOString() });

  await minutes(60);
  assert.equal(jobs.length, 0, "nobody wants it");
  settings = { ...noPlacementSettings, balance: { everyMinutes: 30, abovePercent: 70 } };
  await minutes(1);
  assert.deepEqual(
    jobs.map(({ kind, input }) => [kind, input]),
    [["cluster.balance", { actAbove: 0.7 }]],
  );
  await minutes(60);
  assert.equal(jobs.length, 1, "the first one still runs");
  end();
  await minutes(1);
  assert.equal(jobs.length, 2);
  end();
  await minutes(28);
  assert.equal(jobs.length, 2, "the next is not due");
  broken = true;
  await minutes(10);
  broken = false;
  await minutes(1);
  assert.equal(jobs.length, 3, "it goes on after a failure");
  stop.abort();
  await running;
});
