import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nextRate, Pace, pacing } from "../../src/protection/pace.ts";
import type { WriteStats } from "../../src/index.ts";
import { FakeClock, settle } from "../jobs/fake-clock.ts";

const MiB = 1 << 20;
const { signal } = new AbortController();

describe("how fast a capture reads", () => {
  it("falls below what was really read as soon as the guest's writes take half as long again", () => {
    assert.equal(nextRate({ rate: Infinity, measured: 100 * MiB, beforeMs: 4, nowMs: 6.5 }), 60 * MiB);
    assert.equal(nextRate({ rate: 10 * MiB, measured: 9 * MiB, beforeMs: 4, nowMs: 6.5 }), 9 * MiB * 0.6);
  });

  it("never falls so low that it would not end, and rises again when the guest is well", () => {
    assert.equal(nextRate({ rate: 2 * MiB, measured: MiB, beforeMs: 4, nowMs: 100 }), 2 * MiB);
    assert.equal(nextRate({ rate: 8 * MiB, measured: 8 * MiB, beforeMs: 4, nowMs: 4 }), 10 * MiB);
    assert.equal(nextRate({ rate: 8 * MiB, measured: 8 * MiB, beforeMs: 4, nowMs: undefined }), 10 * MiB);
    assert.equal(nextRate({ rate: 2 ** 31, measured: 0, beforeMs: 4, nowMs: 4 }), Infinity);
  });

  it("does not mind differences that nobody notices", () => {
    assert.equal(nextRate({ rate: Infinity, measured: MiB, beforeMs: 0.2, nowMs: 0.9 }), Infinity);
    assert.equal(nextRate({ rate: Infinity, measured: MiB, beforeMs: undefined, nowMs: 15 }), Infinity);
  });

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
    now = { requests: 110, totalMs: 300 };
    await clock.advance(500);
    await settle();
    assert.equal(pace.rate, 60 * MiB);
    assert.deepEqual(following.felt(), { writeBeforeMs: 2, writeMs: 10, slowedTo: 60 * MiB });
    await following[Symbol.asyncDispose]();
  });
});
