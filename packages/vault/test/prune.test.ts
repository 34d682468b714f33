import assert from "node:assert/strict";
import { test } from "node:test";
import { planPrune, type Point, type PrunePolicy, type PruneVerdict } from "@godwit/vault";
import fc from "fast-check";
import { MemoryDisk, newVault, signal } from "./support/disks.ts";

const hour = 3_600_000;
const later = Date.parse("2100-01-01");

const pointAt = (time: string, name = "web1"): Point => ({
  id: Buffer.from(`${name}${time}`).toString("hex").padEnd(32, "0").slice(-32),
  name,
  time,
  grid: 4096,
  consistency: { level: "crash", evidence: [] },
  disks: [],
  reasons: [],
  figures: {},
});

const ordered = (times: readonly string[]): Point[] => times.toSorted().map((time) => pointAt(time));

function plan(points: readonly Point[], policy: PrunePolicy, timeZone = "UTC", now = later): readonly PruneVerdict[] {
  return planPrune({ list: { points, damaged: [], locked: [] }, holds: [], now }, { fallback: policy, timeZone }).points;
}

const kept = (verdicts: readonly PruneVerdict[]): string[] => verdicts.filter(({ keep }) => keep).map(({ time }) => time);

test("each period keeps its newest point, with every reason why it stays and why another goes", () => {
  const points = ordered([
    "2026-11-24T08:00:00Z",
    "2026-11-24T20:00:00Z",
    "2026-11-25T08:00:00Z",
    "2026-11-26T08:00:00Z",
    "2026-11-26T09:00:00Z",
  ]);
  const verdicts = plan(points, { last: 1, daily: 2, weekly: 1 });
  assert.deepEqual(
    verdicts.map(({ time, keep, reasons }) => ({ time, keep, reasons })),
    [
      {
        time: "2026-11-26T09:00:00Z",
        keep: true,
        reasons: ["last 1: number 1", "daily 2: the newest of 2026-11-26", "weekly 1: the newest of 2026-W48"],
      },
      {
        time: "2026-11-26T08:00:00Z",
        keep: false,
        reasons: [
          "last 1: newer ones are enough",
          `daily 2: ${points.at(-1)!.id.slice(0, 12)} stands for 2026-11-26`,
          `weekly 1: ${points.at(-1)!.id.slice(0, 12)} stands for 2026-W48`,
        ],
      },
      { time: "2026-11-25T08:00:00Z", keep: true, reasons: ["daily 2: the newest of 2026-11-25"] },
      {
        time: "2026-11-24T20:00:00Z",
        keep: false,
        reasons: [
          "last 1: newer ones are enough",
          "daily 2: 2026-11-24 is further back",
          `weekly 1: ${points.at(-1)!.id.slice(0, 12)} stands for 2026-W48`,
        ],
      },
      {
        time: "2026-11-24T08:00:00Z",
        keep: false,
        reasons: [
          "last 1: newer ones are enough",
          "daily 2: 2026-11-24 is further back",
          `weekly 1: ${points.at(-1)!.id.slice(0, 12)} stands for 2026-W48`,
        ],
      },
    ],
  );
});

test("days are those of the time zone, and the hour in which clocks go back is there twice", () => {
  const late = ["2026-11-24T22:30:00Z", "2026-11-24T23:30:00Z"];
  assert.deepEqual(kept(plan(ordered(late), { daily: 2 }, "UTC")), ["2026-11-24T23:30:00Z"]);
  assert.deepEqual(kept(plan(ordered(late), { daily: 2 }, "Europe/Vienna")), late.toReversed());
  // On 2026-10-25 at 03:00 summer time clocks in Vienna go back to 02:00.
  const twice = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"];
  assert.deepEqual(kept(plan(ordered(twice), { hourly: 2 }, "Europe/Vienna")), twice.toReversed());
  assert.throws(() => plan([], { daily: 1 }, "Mars/Olympus"), { kind: "invalid" });
});

test("weeks are ISO weeks: the last days of a year may belong to the next one's first week", () => {
  const times = ["2024-12-29T12:00:00Z", "2024-12-30T12:00:00Z", "2025-01-05T12:00:00Z", "2025-01-06T12:00:00Z"];
  assert.deepEqual(kept(plan(ordered(times), { weekly: 9 })), ["2025-01-06T12:00:00Z", "2025-01-05T12:00:00Z", "2024-12-29T12:00:00Z"]);
});

test("points dated in the future stay and push nothing out, by whatever rule", () => {
  const now = Date.parse("2026-11-26T12:00:00Z");
  const good = ["2026-11-25T10:00:00Z", "2026-11-26T11:00:00Z"];
  const ahead = ["2026-12-24T00:00:00Z", "2099-01-01T00:00:00Z"];
  for (const policy of [{ within: 48 * hour }, { last: 2 }, { daily: 2 }, { monthly: 1, daily: 2 }]) {
    const verdicts = plan(ordered([...good, ...ahead]), policy, "UTC", now);
    assert.deepEqual(kept(verdicts), [...good, ...ahead].toReversed());
    assert.match(verdicts[0]!.reasons.join(), /future/);
  }
  const jumpedBack = plan(ordered(good), { last: 1 }, "UTC", 0);
  assert.deepEqual(kept(jumpedBack), good.toReversed());
});

test("a policy that keeps nothing is refused, and a VM without a policy keeps everything", () => {
  assert.throws(() => plan([], {}), { kind: "invalid", message: /every recovery point/ });
  assert.throws(() => plan([], { last: 0, daily: 0 }), { kind: "invalid" });
  assert.throws(() => plan([], { last: -1 }), { kind: "invalid" });
  const points = [pointAt("2026-11-24T08:00:00Z", "a"), pointAt("2026-11-24T09:00:00Z", "a"), pointAt("2026-11-24T08:00:00Z", "b")];
  points.push(pointAt("2026-11-24T09:00:00Z", "b"));
  const facts = { list: { points, damaged: ["x"], locked: [] }, holds: [], now: later };
  const { points: verdicts, damaged } = planPrune(facts, { byName: { a: { last: 1 } } });
  assert.deepEqual(
    verdicts.map(({ name, keep }) => `${name} ${keep}`),
    ["a true", "a false", "b true", "b true"],
  );
  assert.match(verdicts[3]!.reasons.join(), /no policy/);
  assert.deepEqual(damaged, ["x"]);
});

test("held points stay, until the hold is over; damaged ones stay and stand for nothing", () => {
  const [old, young] = ordered(["2026-11-24T08:00:00Z", "2026-11-24T09:00:00Z"]);
  const list = { points: [old!, young!], damaged: [], locked: [] };
  const hold = { id: "h", point: old!.id, kind: "hold" as const, reason: "the lawyers want it", created: "", until: later };
  const before = planPrune({ list, holds: [hold], now: later - 1 }, { fallback: { last: 1 } });
  assert.deepEqual(before.points[1], {
    ...before.points[1],
    keep: true,
    reasons: ["hold until 2100-01-01T00:00:00.000Z: the lawyers want it"],
  });
  assert.equal(planPrune({ list, holds: [hold], now: later }, { fallback: { last: 1 } }).points[1]!.keep, false);
  const hurt = planPrune({ list, holds: [], hurt: new Set([young!.id]), now: later }, { fallback: { last: 1 } });
  assert.deepEqual(
    hurt.points.map(({ keep }) => keep),
    [true, true],
  );
});

test("whatever the points and the policy: the newest stays, a second prune changes nothing, more of a rule never keeps less", () => {
  const count = fc.option(fc.nat(4), { nil: undefined });
  const rules = fc.record({
    last: fc.integer({ min: 1, max: 3 }),
    hourly: count,
    daily: count,
    weekly: count,
    monthly: count,
    yearly: count,
  });
  const times = fc.array(fc.date({ min: new Date("2024-01-01"), max: new Date("2026-12-31"), noInvalidDate: true }), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(times, rules, fc.constantFrom("UTC", "Europe/Vienna", "America/St_Johns"), (dates, rules, zone) => {
      const policy = Object.fromEntries(Object.entries(rules).filter(([, value]) => value !== undefined)) as PrunePolicy;
      const points = ordered([...new Set(dates.map((date) => date.toISOString()))]);
      const verdicts = plan(points, policy, zone);
      assert.ok(verdicts.every(({ reasons }) => reasons.length > 0));
      assert.equal(verdicts[0]!.keep, true);
      const left = points.filter(({ time }) => kept(verdicts).includes(time));
      assert.deepEqual(kept(plan(left, policy, zone)), kept(verdicts));
      const more = new Set(kept(plan(points, { ...policy, daily: (policy.daily ?? 0) + 1 }, zone)));
      assert.ok(kept(verdicts).every((time) => more.has(time)));
    }),
  );
});

test("prune deletes what its plan says, and a point that was held since stays", async () => {
  const { vault } = await newVault();
  const source = new MemoryDisk(new Uint8Array(9000).fill(1));
  const points: Point[] = [];
  for (let i = 0; i < 3; i += 1) points.push(await vault.put({ name: "a", disks: [{ name: "vda", source }] }, { signal }));
  const planned = await vault.planPrune({ fallback: { last: 1 } }, { signal });
  assert.equal(planned.points.filter(({ keep }) => !keep).length, 2);
  const gone = planned.points.filter(({ keep }) => !keep);
  const held = points.find(({ id }) => id === gone[0]!.id)!;
  const hold = await vault.hold(held, { reason: "wait" }, { signal });
  const { deleted, skipped } = await vault.applyPrune(planned, { signal });
  assert.deepEqual(deleted, [gone[1]!.id]);
  assert.deepEqual(skipped[0]!.id, held.id);
  assert.match(skipped[0]!.why, /wait/);
  await assert.rejects(vault.deletePoint(held.id, { signal }), { kind: "held" });
  assert.equal(await vault.release(held, hold.id, { signal }), 1);
  assert.deepEqual((await vault.applyPrune(planned, { signal })).skipped, []);
  assert.equal((await vault.points({ signal })).points.length, 1);
});
