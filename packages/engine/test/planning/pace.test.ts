import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { JobRecord } from "../../src/index.ts";
import type { SiteVm } from "../../src/placement/model.ts";
import { costsFrom } from "../../src/planning/costs.ts";
import { atPace, paceOf } from "../../src/planning/pace.ts";

const drain = (totalMs: number, scheduledMs?: number, ...outcomes: readonly string[]): JobRecord =>
  ({ result: { totalMs, scheduledMs, moves: (outcomes.length > 0 ? outcomes : ["moved"]).map((outcome) => ({ outcome })) } }) as never;

describe("the pace of drains", () => {
  it("is the middle of how long those took over what their schedules had said", () => {
    assert.equal(paceOf([drain(1300, 1000), drain(9000, 1000), drain(1100, 1000)]), 1.3);
  });

  it("is not told by those that did not go as planned, moved nobody, or are from before it was learned", () => {
    assert.equal(paceOf([]), 1);
    const empty = { result: { totalMs: 5000, scheduledMs: 1000, moves: [] } } as never;
    assert.equal(paceOf([drain(5000, 1000, "moved", "failed"), drain(5000), empty]), 1);
  });

  it("is not told by those that a server's death interrupted, nor is the cost of a move", () => {
    assert.equal(paceOf([{ ...drain(2900, 1000), attempt: 2 }]), 1);
    const arrived = { state: "done", result: { vmId: "v", totalMs: 9e6, memoryBytes: 0 } } as unknown as JobRecord;
    const vm = { id: "v", memoryBytes: 1000 } as SiteVm;
    assert.equal(costsFrom([{ ...arrived, attempt: 2 }])(vm, { bytesPerSecond: 1 }).bytes, 700);
  });

  it("is bounded: what is further off was something else", () => {
    assert.equal(paceOf([drain(60_000, 1000)]), 3);
    assert.equal(paceOf([drain(1, 1000)]), 0.5);
  });

  it("moves a plan's times, but not how long each move takes", () => {
    const entries = [{ vm: "web", startsAtMs: 1000, predictedMs: 900 }, { vm: "old" }];
    const told = atPace({ scheduledMs: 2000, predictedMs: 2000, entries } as never, 1.5);
    assert.equal(told.predictedMs, 3000);
    assert.deepEqual(told.entries, [{ vm: "web", startsAtMs: 1500, predictedMs: 900 }, { vm: "old" }]);
  });
});
