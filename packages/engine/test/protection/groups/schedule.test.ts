import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  checkSchedule,
  inWindow,
  lastDue,
  nextDue,
  nextOpening,
  type Schedule,
  weekdays,
} from "../../../src/protection/groups/schedule.ts";

const at = (text: string): number => Date.parse(text);
const utc = (schedule: Omit<Schedule, "timeZone">): Schedule => ({ ...schedule, timeZone: "UTC" });

describe("a schedule", () => {
  test("by cron is due several times a day, in its own time zone, over a change of the clocks too", () => {
    const twice: Schedule = { cron: ["0 12 * * *", "30 1 * * *"], timeZone: "Europe/Vienna" };
    assert.equal(nextDue(twice, at("2026-03-28T23:00:00Z")), at("2026-03-29T00:30:00Z"));
    assert.equal(nextDue(twice, at("2026-03-29T00:30:00Z")), at("2026-03-29T10:00:00Z"), "summer time has begun");
  });

  test("every N minutes is due at the same moments whoever asks, and whenever a server began", () => {
    const often = utc({ everyMinutes: 90 });
    assert.equal(nextDue(often, at("2026-11-27T10:00:00Z")), at("2026-11-27T10:30:00Z"));
    assert.equal(nextDue(often, at("2026-11-27T10:30:00Z")), at("2026-11-27T12:00:00Z"));
  });

  test("that was missed many times is due once", () => {
    const hourly = utc({ cron: ["0 * * * *"] });
    assert.equal(lastDue(hourly, at("2026-11-20T00:00:00Z"), at("2026-11-27T10:20:00Z")), at("2026-11-27T10:00:00Z"));
    assert.equal(lastDue(hourly, at("2026-11-27T10:00:00Z"), at("2026-11-27T10:59:00Z")), undefined);
  });

  test("without cron or minutes is by hand only", () => {
    assert.equal(nextDue(utc({}), 0), undefined);
    assert.equal(lastDue(utc({}), 0, at("2026-11-27T10:00:00Z")), undefined);
  });

  test("that is wrong is refused by field, with the way out", () => {
    for (const [schedule, text] of [
      [utc({ cron: ["0 1 * *"] }), /'0 1 \* \*' is no cron line.*five fields/],
      [utc({ cron: ["0 1 30 2 *"] }), /never comes/],
      [utc({ everyMinutes: 0 }), /everyMinutes.*not 0/],
      [utc({ cron: ["0 1 * * *"], everyMinutes: 5 }), /not both/],
      [{ everyMinutes: 5, timeZone: "Mars/Olympus" }, /'Mars\/Olympus' is no time zone/],
      [utc({ windows: [{ from: "9:00", to: "24:00" }] }), /'9:00' is no time of day/],
      [utc({ windows: [{ days: [], from: "09:00", to: "12:00" }] }), /hours without a day never come/],
    ] as const)
      assert.throws(() => checkSchedule(schedule), { kind: "invalid", message: text });
    checkSchedule({
      cron: ["*/15 8-18 * * mon-fri"],
      timeZone: "America/New_York",
      windows: [{ days: ["sat"], from: "22:00", to: "06:00" }],
    });
  });

  test("with a window past midnight holds until the next morning, and only then", () => {
    const night = utc({ everyMinutes: 5, windows: [{ days: ["fri"], from: "22:00", to: "06:00" }] });
    assert.equal(inWindow(night, at("2026-11-27T21:59:00Z")), false);
    assert.equal(inWindow(night, at("2026-11-27T22:00:00Z")), true);
    assert.equal(inWindow(night, at("2026-11-28T05:59:00Z")), true, "Saturday morning belongs to Friday's window");
    assert.equal(inWindow(night, at("2026-11-28T22:30:00Z")), false);
    assert.equal(nextOpening(night, at("2026-11-28T06:00:00Z")), at("2026-12-04T22:00:00Z"));
  });

  test("finds the minute at which a window opens, over changes of the clocks too", () => {
    const windows = fc.record({
      days: fc.option(fc.subarray([...weekdays], { minLength: 1 }), { nil: undefined }),
      from: fc.constantFrom("00:00", "01:45", "02:30", "03:00", "22:00"),
      to: fc.constantFrom("00:00", "02:00", "02:45", "06:00", "22:30"),
    });
    const zones = fc.constantFrom("UTC", "Europe/Vienna", "Australia/Lord_Howe", "Asia/Kolkata");
    const moments = fc.constantFrom("2026-03-27T12:00:30Z", "2026-10-23T12:00:00Z", "2026-04-03T09:07:00Z", "2026-10-02T23:59:59Z");
    fc.assert(
      fc.property(fc.array(windows, { minLength: 1, maxLength: 2 }), zones, moments, (some, timeZone, moment) => {
        const schedule: Schedule = { timeZone, windows: some };
        const from = at(moment);
        let slowly: number | undefined = inWindow(schedule, from) ? from : undefined;
        for (let time = Math.ceil(from / 60_000) * 60_000; slowly === undefined && time < from + 8 * 86_400_000; time += 60_000)
          if (inWindow(schedule, time)) slowly = time;
        assert.equal(nextOpening(schedule, from), slowly);
      }),
      { numRuns: 40 },
    );
  });

  test("agrees with itself: what is next due is what was last due afterwards", () => {
    const schedules = fc.oneof(
      fc.integer({ min: 1, max: 3000 }).map((everyMinutes) => utc({ everyMinutes })),
      fc.constantFrom("0 1 * * *", "*/7 * * * *", "15 3 1 * *", "0 0 29 2 *", "0 2 * * sun").map((line) => ({
        cron: [line],
        timeZone: "Europe/Vienna",
      })),
    );
    fc.assert(
      fc.property(schedules, fc.integer({ min: at("2024-01-01T00:00:00Z"), max: at("2030-01-01T00:00:00Z") }), (schedule, after) => {
        const next = nextDue(schedule, after);
        assert.ok(next !== undefined && next > after);
        assert.equal(lastDue(schedule, after, next), next);
        assert.equal(lastDue(schedule, after, next - 1), undefined);
      }),
      { numRuns: 200 },
    );
  });
});
