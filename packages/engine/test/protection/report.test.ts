import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { MemberRecord, ProtectionGroup, RunRecord } from "../../src/protection/groups/model.ts";
import { memberStatus, slaBrokenAt } from "../../src/protection/groups/report.ts";
import type { JobRecord } from "../../src/index.ts";
import { plannedMembers } from "../../src/protection/groups/planned.ts";
import { withOutcome } from "../../src/protection/groups/runs.ts";
import { distinctChange, keptAges, planStorage } from "../../src/protection/storage-plan.ts";

const now = Date.parse("2026-11-27T10:00:00Z");
const daysAgo = (days: number): string => new Date(now - days * 86_400_000).toISOString();
const group = { id: "g", name: "gold", slaHours: 24, paused: false, schedule: { everyMinutes: 60 } } as ProtectionGroup;
const run = (days: number, more: Partial<RunRecord> = {}): RunRecord => ({
  jobId: `j${days}`,
  startedAt: daysAgo(days),
  endedAt: daysAgo(days),
  outcome: "done",
  ...more,
});
const record = (more: Partial<MemberRecord>): MemberRecord => ({
  groupId: "g",
  vmId: "v",
  vm: "web",
  since: daysAgo(9),
  failures: 0,
  runs: [],
  ...more,
});

describe("a member's status", () => {
  test("says churn and growth of the runs after the first, and the longest freeze", () => {
    const runs = [
      run(4, { changedBytes: 1e9, storedBytes: 5e8, pointId: "p4" }),
      run(2, { changedBytes: 4e6, storedBytes: 1e6, frozenMs: 80 }),
      run(0, { changedBytes: 8e6, storedBytes: 3e6, frozenMs: 200, pointId: "p0" }),
    ];
    const status = memberStatus(group, record({ runs, lastSuccessAt: daysAgo(0) }), { now });
    assert.deepEqual(
      [status.state, status.lastPointId, status.succeeded, status.churnBytesPerDay, status.growthBytesPerDay, status.longestFreezeMs],
      ["ok", "p0", 3, 3e6, 1e6, 200],
    );
  });

  test("is late when the SLA is broken, with since when and what the last run said", () => {
    const runs = [run(0.1, { outcome: "failed", error: "the vault is full" })];
    const late = record({ runs, failures: 1, lastSuccessAt: daysAgo(2) });
    assert.equal(slaBrokenAt(group, late, now), now - 86_400_000);
    const status = memberStatus(group, late, { now });
    assert.equal(status.state, "late");
    assert.match(
      status.reason.text,
      /no point for 24 h: broken since 2026-11-26T10:00:00.000Z \(24 h\); the last run said: the vault is full/,
    );
    assert.equal(slaBrokenAt({ ...group, paused: true }, late, now), undefined);
  });

  test("is late although a clock that was far ahead saw its last point", () => {
    assert.notEqual(slaBrokenAt(group, record({ lastSuccessAt: daysAgo(-1000) }), now), undefined);
    assert.equal(slaBrokenAt(group, record({ lastSuccessAt: daysAgo(-0.01) }), now), undefined);
  });

  test("is failing after a failure, waiting before its first point, running while a job is under way", () => {
    const state = (more: Partial<MemberRecord>): string => memberStatus(group, record({ since: daysAgo(0.1), ...more }), { now }).state;
    assert.equal(state({ runs: [run(0, { outcome: "failed" })], lastSuccessAt: daysAgo(0.5) }), "failing");
    assert.equal(state({}), "waiting");
    assert.equal(state({ jobId: "j" }), "running");
  });

  test("does not promise a first point where there is no schedule", () => {
    const { reason } = memberStatus({ ...group, schedule: { timeZone: "UTC" } }, record({ since: daysAgo(0.1) }), { now });
    assert.deepEqual([reason.code, reason.text.includes("godwit protect web")], ["by-hand", true]);
  });
});

const job = (result: object): JobRecord =>
  ({ id: "j", state: "done", createdAt: daysAgo(1), startedAt: daysAgo(1), endedAt: daysAgo(1), result }) as unknown as JobRecord;

describe("a consistency check", () => {
  test("is one only where something could be compared", () => {
    const checked = (check: readonly object[]): unknown => {
      const { checkedAt, runs } = withOutcome(record({ jobId: "j" }), job({ outcome: "captured", readBytes: 1, check }));
      return [checkedAt, runs[0]?.unexpectedBytes];
    };
    assert.deepEqual(checked([{ target: "vda", unexpectedBytes: 3 }]), [daysAgo(1), 3]);
    assert.deepEqual(checked([]), [undefined, undefined], "the last point could not be read");
  });
});

describe("what a group's members need of a vault", () => {
  test("is known of a VM that was read whole more runs ago than are remembered", () => {
    let member = withOutcome(record({ jobId: "j" }), job({ readBytes: 5e9, storedBytes: 2e9, disks: [{ mode: "full", readBytes: 5e9 }] }));
    const incremental = { readBytes: 1e6, storedBytes: 5e5, disks: [{ mode: "incremental", readBytes: 1e6 }] };
    for (let n = 0; n < 150; n += 1) member = withOutcome({ ...member, jobId: "j" }, job(incremental));
    const { vms, unmeasured } = plannedMembers(group, [member], now);
    assert.deepEqual([vms.map(({ usedBytes }) => usedBytes), unmeasured], [[5e9], []]);
  });

  test("counts the points of a day by the schedule, also of one that comes every minute", () => {
    const perDay = (...cron: readonly string[]): number =>
      plannedMembers({ ...group, schedule: { cron, timeZone: "UTC" } }, [], now).pointsPerDay;
    assert.equal(perDay("0 1 * * mon-fri"), 5 / 7);
    assert.equal(perDay("*/15 * * * *"), 96);
    assert.equal(Math.round(perDay("* * * * *")), 1440);
  });
});

describe("a storage plan", () => {
  const vm = { name: "db", usedBytes: 100e9, churnBytesPerDay: 2e9, storedRatio: 0.5, evidence: "measured" };

  test("the same blocks that change again are not counted twice", () => {
    assert.equal(Math.round(distinctChange(vm, 1) / 1e7), 198);
    assert.ok(distinctChange(vm, 365) < vm.usedBytes);
  });

  test("keeps the points that the policy keeps", () => {
    assert.deepEqual(keptAges({ daily: 3, weekly: 3 }, 1), [1, 2, 7, 14]);
    assert.deepEqual(
      keptAges({ last: 3 }, 4),
      [0.25, 0.5].map((age) => Math.round(age * 1440) / 1440),
    );
  });

  test("gives the vault over time, scratch and windows, with DPM's rule beside it", () => {
    const plan = planStorage({ vms: [vm], retention: { daily: 30 }, pointsPerDay: 1, bytesPerSecond: 200e6 });
    assert.deepEqual(
      plan.vault.map(({ day }) => day),
      [1, 7, 30, 90, 180, 365],
    );
    assert.ok(
      plan.vault.every(({ bytes }, index) => index === 0 || bytes >= plan.vault[index - 1]!.bytes),
      "never shrinks",
    );
    assert.equal(plan.vault.at(-1)?.bytes, plan.vault[2]?.bytes, "a steady state once the oldest point is reached");
    assert.equal(plan.firstWindowSeconds, 500);
    assert.ok(plan.windowSeconds < 10.1);
    assert.equal(plan.dpm.replicaBytes, 150e9);
    assert.equal(plan.dpm.recoveryPointBytes, Math.round(100e9 * 29 * 0.02 + 1600 * 2 ** 20));
  });

  test("refuses figures that make no sense, by name", () => {
    const input = { vms: [vm], retention: {}, pointsPerDay: 1, bytesPerSecond: 1 };
    assert.throws(() => planStorage({ ...input, pointsPerDay: 0 }), { kind: "invalid" });
    assert.throws(() => planStorage({ ...input, vms: [{ ...vm, churnBytesPerDay: -1 }] }), /db cannot change -1 bytes a day/);
  });
});
