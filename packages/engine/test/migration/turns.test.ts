import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Switchovers } from "../../src/migration/turns.ts";
import { FakeClock } from "../jobs/fake-clock.ts";

const { signal } = new AbortController();

describe("the turns of guests that are switched over", () => {
  it("are one at a time for each destination, in order, and count how long was waited", async () => {
    const clock = new FakeClock();
    const switchovers = new Switchovers(clock);
    const [first, second, third, other] = ["b", "b", "b", "c"].map((id) => switchovers.turn(id));
    assert.ok(first && second && third && other);
    await first.take(signal);
    await other.take(signal);
    const order: string[] = [];
    const waits = [second.take(signal).then(() => order.push("second")), third.take(signal).then(() => order.push("third"))];
    await clock.advance(400);
    assert.deepEqual(order, []);
    first.end();
    await waits[0];
    assert.deepEqual([order, first.waitedMs, other.waitedMs, second.waitedMs], [["second"], 0, 0, 400]);
    second.end();
    second.end();
    await waits[1];
    third.end();
    await switchovers.turn("b").take(signal);
  });

  it("are not waited for without an end, and given up on a cancel", async () => {
    const clock = new FakeClock();
    const switchovers = new Switchovers(clock);
    await switchovers.turn("b").take(signal);
    const cancel = new AbortController();
    const cancelled = switchovers.turn("b");
    const refused = assert.rejects(cancelled.take(cancel.signal), /enough/);
    const patient = switchovers.turn("b");
    const waits = patient.take(signal);
    cancel.abort(new Error("enough"));
    await refused;
    await clock.advance(60_000);
    await waits;
    patient.end();
  });

  it("hold nobody back who is alone on the way", () => {
    const switchovers = new Switchovers(new FakeClock());
    const [first, elsewhere] = [switchovers.turn("b"), switchovers.turn("c")];
    assert.deepEqual([first.alone, elsewhere.alone], [true, true]);
    const second = switchovers.turn("b");
    assert.deepEqual([first.alone, second.alone], [false, false]);
    first.end();
    first.end();
    assert.equal(second.alone, true);
  });

  it("are taken before what is sent within no time, and on the way otherwise", () => {
    const switchovers = new Switchovers(new FakeClock());
    assert.deepEqual(
      [undefined, 1900, 60_000].map(
        (totalMs) => switchovers.turn("b", totalMs === undefined ? undefined : { totalMs, overheadMs: 700 }).before,
      ),
      ["perform", "perform", "switchover"],
    );
  });
});
