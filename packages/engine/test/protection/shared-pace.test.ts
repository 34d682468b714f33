import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { rateNow } from "../../src/protection/groups/schedule.ts";
import { SharedPace } from "../../src/protection/shared-pace.ts";
import { FakeClock, settle } from "../jobs/fake-clock.ts";

const MiB = 1 << 20;
const { signal } = new AbortController();

describe("how fast the captures of a group read together", () => {
  it("is one rate for all of them, and one that is changed holds while they wait", async () => {
    const clock = new FakeClock();
    let rate: number | undefined = MiB;
    const shared = new SharedPace(clock, async () => rate);
    const read = [0, 0];
    const reader = async (at: number): Promise<void> => {
      for (let n = 0; n < 100; n += 1) {
        await shared.take(MiB / 2, signal);
        read[at]! += MiB / 2;
      }
    };
    const done = Promise.all([reader(0), reader(1)]);
    const seconds = async (count: number): Promise<number> => {
      const before = read[0]! + read[1]!;
      for (let n = 0; n < count * 10; n += 1) {
        await clock.advance(100);
        await settle();
      }
      return (read[0]! + read[1]! - before) / MiB / count;
    };
    await seconds(2);
    const slow = await seconds(10);
    assert.ok(slow > 0.8 && slow < 1.3, `${slow} MiB a second`);
    assert.ok(Math.min(...read) > 0, "one of them starves");
    rate = 4 * MiB;
    await seconds(2);
    const faster = await seconds(5);
    assert.ok(faster > 3.2 && faster < 5, `${faster} MiB a second`);
    rate = undefined;
    await seconds(2);
    await done;
  });

  it("goes by the hours of the day, in the group's time zone", () => {
    const rules = [
      { bytesPerSecond: 2_000_000, hours: { days: ["fri" as const], from: "08:00", to: "18:00" } },
      { bytesPerSecond: 9_000_000 },
    ];
    const at = (time: string): number | undefined => rateNow(rules, "Europe/Vienna", Date.parse(time));
    assert.equal(at("2026-11-27T07:30:00Z"), 2_000_000);
    assert.equal(at("2026-11-27T17:30:00Z"), 9_000_000);
    assert.equal(at("2026-11-28T07:30:00Z"), 9_000_000);
    assert.equal(rateNow(rules.slice(0, 1), "UTC", Date.parse("2026-11-28T07:30:00Z")), undefined);
  });
});
