import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Pace, pacing } from "../../src/protection/pace.ts";
import type { WriteStats } from "../../src/index.ts";
import { FakeClock, settle } from "../jobs/fake-clock.ts";

const MiB = 1 << 20;
const { signal } = new AbortController();

describe("how fast a capture reads", () => {
  it("is kept by whoever takes, and never above the limit", async () => {
    const clock = new FakeClock();
    const pace = new Pace(clock, 10 * MiB);
    pace.rate = Infinity;
    assert.equal(pace.rate, 10 * MiB);
    await pace.take(10 * MiB, signal);
    let taken = false;
    const second = pace.take(MiB, signal).then(() => (taken = true));
    await clock.advance(900);
    assert.equal(taken, false);
    await clock.advance(200);
    await second;
    assert.equal(pace.drain(), 11 * MiB);
    assert.equal(pace.drain(), 0);
  });

  it("follows the guest, and says what it felt", async () => {
    const clock = new FakeClock();
    const pace = new Pace(clock);
    let now: WriteStats = { requests: 100, totalMs: 200 };
    const following = await pacing({ signal, clock, pace, stats: async () => now });
    await pace.take(50 * MiB, signal);
    now = { requests: 120, totalMs: 600 };
    await clock.advance(500);
    await settle();
    assert.equal(pace.rate, 60 * MiB);
    assert.equal(following.writes(), true);
    assert.deepEqual(following.felt(), { writeBeforeMs: 2, writeMs: 20, slowedTo: 60 * MiB });
    await clock.advance(500);
    await settle();
    assert.equal(following.writes(), false);
    await following[Symbol.asyncDispose]();
  });

  it("takes no word of the guest for none: a look that could not be had changes nothing", async () => {
    const clock = new FakeClock();
    const pace = new Pace(clock);
    let now: WriteStats | undefined = { requests: 1000, totalMs: 2000 };
    const following = await pacing({ signal, clock, pace, stats: async () => now });
    now = undefined;
    await clock.advance(500);
    await settle();
    assert.equal(following.writes(), true);
    now = { requests: 1100, totalMs: 2400 };
    await clock.advance(500);
    await settle();
    assert.deepEqual(following.felt(), { writeBeforeMs: 2, writeMs: 4 });
    await following[Symbol.asyncDispose]();
  });
});
