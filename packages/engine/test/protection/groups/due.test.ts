import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type DueMember, planRuns } from "../../../src/protection/groups/due.ts";
import type { MemberRecord, ProtectionGroup } from "../../../src/protection/groups/model.ts";

const now = Date.parse("2026-11-27T10:20:00Z");
const iso = (ms: number): string => new Date(ms).toISOString();
const hour = 3_600_000;

const group: ProtectionGroup = {
  id: "g1",
  name: "gold",
  members: { names: ["*"] },
  vaultId: "v1",
  schedule: { cron: ["0 * * * *"], timeZone: "UTC" },
  retention: { last: 7 },
  limits: {},
  retry: { times: 2, delayMinutes: 10 },
  onMigration: "park",
  atLeast: "crash",
  paused: false,
  createdAt: iso(now - 100 * hour),
};

function member(vm: string, more: Partial<MemberRecord> = {}, settings: Partial<ProtectionGroup> = {}, host = "alpha"): DueMember {
  const record = { groupId: group.id, vmId: vm, vm, since: iso(now - 50 * hour), failures: 0, runs: [], ...more };
  return { group: { ...group, ...settings }, record, hostId: host, host, pools: ["local"], reachable: true };
}

const lastHour = Date.parse("2026-11-27T10:00:00Z");
const names = (plan: ReturnType<typeof planRuns>): string[] => plan.starts.map(({ member: { record } }) => record.vm);

describe("what runs now", () => {
  test("a new member does not wait for the schedule", () => {
    const [start] = planRuns([member("web", { since: iso(now - 1000) })], now).starts;
    assert.equal(start?.reason.code, "first");
  });

  test("what was captured for this hour is not due, and wakes at the next", () => {
    const plan = planRuns([member("web", { dueAt: lastHour, lastSuccessAt: iso(lastHour) })], now);
    assert.deepEqual(plan, { starts: [], waits: [], wakeAt: lastHour + hour });
  });

  test("hours that were missed are made up once, and it says so", () => {
    const [start, ...more] = planRuns([member("web", { dueAt: lastHour - 9 * hour })], now).starts;
    assert.deepEqual([start?.dueAt, start?.reason.code, more.length], [lastHour, "made-up", 0]);
  });

  test("a clock that was far ahead for a while does not put off what is due until then", () => {
    const ahead = now + 4 * 365 * 24 * hour;
    const plan = (more: Partial<MemberRecord>): unknown =>
      planRuns([member("web", { dueAt: ahead, ...more })], now).starts.map(({ dueAt }) => dueAt);
    assert.deepEqual(plan({}), [lastHour]);
    assert.deepEqual(plan({ since: iso(ahead) }), [lastHour], "it became a member then");
    assert.deepEqual(plan({ dueAt: lastHour + hour }), [], "the clock was set back a little: that moment was served");
    const checks = { checks: ["30 9 * * *"] };
    const late = member("web", { dueAt: lastHour - hour, lastSuccessAt: iso(lastHour), checkedAt: iso(ahead) }, checks);
    assert.equal(planRuns([late], now).starts[0]?.check, true);
  });

  test("the first capture after a moment for checks is one, until it went well", () => {
    const checks = { checks: ["30 9 * * *"] };
    const check = (more: Partial<MemberRecord>): boolean | undefined =>
      planRuns([member("web", { dueAt: lastHour - hour, lastSuccessAt: iso(lastHour - hour), ...more }, checks)], now).starts[0]?.check;
    assert.equal(check({}), true);
    assert.equal(check({ checkedAt: iso(now - 24 * hour) }), true);
    assert.equal(check({ checkedAt: iso(now - 0.5 * hour) }), false);
    assert.equal(check({ lastSuccessAt: undefined }), false, "there is nothing to compare with");
    assert.equal(planRuns([member("web", { dueAt: lastHour - hour })], now).starts[0]?.check, false);
  });

  test("hundreds that wait for a window days away hold up nothing else of the server", () => {
    const schedule = { cron: ["0 1 * * *"], timeZone: "Europe/Vienna", windows: [{ days: ["thu" as const], from: "03:00", to: "04:00" }] };
    const many = Array.from({ length: 300 }, (_, index) => member(`vm${index}`, { dueAt: now - 48 * hour }, { schedule }));
    const began = performance.now();
    const { starts, waits } = planRuns(many, now);
    assert.ok(performance.now() - began < 2500, "it took minutes when each of them looked for the minute that opens its window");
    assert.deepEqual([starts.length, waits.length], [0, 300]);
  });

  test("a failure is tried again later and later, and not for ever", () => {
    const failed = (failures: number, minutesAgo: number): DueMember =>
      member("web", { dueAt: lastHour, failures, lastEndedAt: iso(now - minutesAgo * 60_000) });
    assert.equal(planRuns([failed(1, 9)], now).starts.length, 0);
    assert.equal(planRuns([failed(1, 9)], now).wakeAt, now + 60_000);
    assert.match(planRuns([failed(1, 10)], now).starts[0]!.reason.text, /^try 2 of 3 after a failure/);
    assert.equal(planRuns([failed(2, 19)], now).starts.length, 0);
    assert.equal(planRuns([failed(2, 20)], now).starts[0]!.attempt, 3);
    assert.equal(planRuns([failed(3, 500)], now).starts.length, 0);
  });

  test("limits count what runs already, by host, storage and vault, and say behind what others wait", () => {
    const due = { dueAt: lastHour - hour };
    const one = { limits: { perHost: 1 } };
    const plan = planRuns(
      [member("a", { ...due, jobId: "j1" }, one), member("b", due, one), member("c", due, one, "bravo"), member("d", due, one, "bravo")],
      now,
    );
    assert.deepEqual(names(plan), ["c"]);
    assert.deepEqual(
      plan.waits.map(({ member: { record }, reason }) => [record.vm, reason.text]),
      [
        ["b", "1 at once on host alpha is the limit of gold"],
        ["d", "1 at once on host bravo is the limit of gold"],
      ],
    );
    const vault = { limits: { perVault: 2 } };
    assert.equal(
      planRuns(
        ["a", "b", "c"].map((vm, index) => member(vm, due, vault, `host${index}`)),
        now,
      ).starts.length,
      2,
    );
  });

  test("the server's own limit holds for all groups together, and says so", () => {
    const other = { id: "g2", name: "silver" };
    const members = [member("a", { jobId: "j1" }), member("b"), member("c", {}, other, "bravo"), member("d", {}, other, "charlie")];
    const plan = planRuns(members, now, 2);
    assert.equal(plan.starts.length, 1);
    assert.deepEqual(
      plan.waits.map(({ reason }) => reason.text),
      Array.from({ length: 2 }, () => "2 captures run, and this server runs 2 at once (godwit server --captures)"),
    );
  });

  test("who has gone longest without a point comes first, and who never had one before all", () => {
    const members = [
      member("fresh", { dueAt: lastHour - hour, lastSuccessAt: iso(now - hour) }),
      member("stale", { dueAt: lastHour - 9 * hour, lastSuccessAt: iso(now - 9 * hour) }),
      member("never", { dueAt: lastHour - hour }),
    ];
    assert.deepEqual(names(planRuns(members, now)), ["never", "stale", "fresh"]);
  });

  test("nothing starts outside of a window, in a paused group or on a lost host", () => {
    const closed = { schedule: { ...group.schedule, windows: [{ from: "22:00", to: "06:00" }] } };
    const plan = planRuns([member("web", {}, closed)], now);
    assert.deepEqual([plan.starts.length, plan.waits[0]?.reason.code, plan.wakeAt], [0, "window", lastHour + hour]);
    assert.deepEqual(planRuns([member("web", {}, { paused: true })], now), { starts: [], waits: [] });
    assert.equal(planRuns([{ ...member("web"), reachable: false }], now).waits[0]?.reason.text, "alpha does not answer");
  });

  test("by hand only is never due", () => {
    assert.deepEqual(planRuns([member("web", {}, { schedule: { timeZone: "UTC" } })], now), { starts: [], waits: [] });
  });

  test("however many are due, no limit is exceeded, and a plan that was carried out starts nothing more", () => {
    const members = fc.array(
      fc.record({
        host: fc.constantFrom("alpha", "bravo", "charlie"),
        running: fc.boolean(),
        late: fc.integer({ min: 0, max: 30 }),
        failures: fc.integer({ min: 0, max: 4 }),
      }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(members, fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 5 }), (facts, perHost, perVault) => {
        const all = facts.map(({ host, running, late, failures }, index) => {
          const record = { dueAt: lastHour - late * hour, failures, lastEndedAt: iso(lastHour), ...(running && { jobId: `j${index}` }) };
          return member(`vm${index}`, record, { limits: { perHost, perVault } }, host);
        });
        const { starts } = planRuns(all, now);
        const running = all.filter(({ record }) => record.jobId !== undefined);
        for (const host of ["alpha", "bravo", "charlie"]) {
          const [before, added] = [running, starts.map((start) => start.member)].map(
            (list) => list.filter((one) => one.host === host).length,
          );
          assert.ok(added === 0 || before! + added! <= perHost);
        }
        assert.ok(starts.length === 0 || running.length + starts.length <= perVault);
        const started = new Map(starts.map((start) => [start.member.record.vmId, start.dueAt]));
        const after = all.map((one) => {
          const dueAt = started.get(one.record.vmId);
          return dueAt === undefined ? one : { ...one, record: { ...one.record, dueAt, jobId: "new" } };
        });
        assert.deepEqual(planRuns(after, now).starts, []);
      }),
      { numRuns: 200 },
    );
  });
});
