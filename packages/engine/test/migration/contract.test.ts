import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type ContractAct, ContractWatch, type PausePolicy } from "../../src/migration/contract.ts";
import type { MoveProgress } from "../../src/ports/migration.ts";

const progress = (rounds: number, left: number, more: Partial<MoveProgress> = {}): MoveProgress => ({
  memoryTotalBytes: 1000,
  memoryProcessedBytes: 1,
  memoryRemainingBytes: left,
  diskTotalBytes: 0,
  diskProcessedBytes: 0,
  diskRemainingBytes: 0,
  rounds,
  ...more,
});

/** Feeds one reading for each round and gives what was to be done, in words. */
function play(policy: PausePolicy, lefts: readonly number[], more: Partial<MoveProgress> = {}): string[] {
  const watch = new ContractWatch({ maximumPauseMs: 300, policy });
  return lefts.flatMap((left, at) => {
    const what: ContractAct = watch.next(progress(at + 1, left, more));
    if (what.act === "none") return [];
    return [what.act === "limit" ? `${what.pauseMs} ms` : what.act];
  });
}
const never = Array.from({ length: 60 }, () => 500);

describe("the pause that was promised", () => {
  it("begins with a part of it and stays there while every round gets nearer", () => {
    assert.deepEqual(play("strict", [1000, 500, 250, 120, 60, 30]), ["38 ms"]);
  });

  it("goes up to the promise in steps, and not beyond, when rounds get no nearer", () => {
    assert.deepEqual(play("strict", [1000, 500, 500, 500, 500]), ["38 ms", "100 ms", "200 ms", "300 ms"]);
  });

  it("leaves room for what of a pause passes anyway, but a third for the sending", () => {
    const last = (switchoverMs: number): number | undefined => {
      const watch = new ContractWatch({ maximumPauseMs: 300, policy: "strict" }, switchoverMs);
      assert.equal(watch.begin().act, "limit");
      for (let round = 1; round < 8; round += 1) watch.next(progress(round, 500));
      return watch.limitMs;
    };
    assert.deepEqual([0, 90, 290].map(last), [300, 210, 100]);
  });

  it("gives the move up when the promise itself is not enough", () => {
    assert.deepEqual(play("strict", never), ["38 ms", "100 ms", "200 ms", "300 ms", "give-up"]);
  });

  it("does what the policy says instead", () => {
    assert.equal(play("post-copy", never).at(-1), "post-copy");
    assert.equal(play("suspend-at-last", never).at(-1), "suspend");
  });

  it("waits for a throttle to be felt, and gives up at its bound", () => {
    assert.deepEqual(play("auto-converge", never.slice(0, 20), { throttlePercent: 40 }), ["38 ms", "100 ms", "200 ms", "300 ms"]);
    assert.equal(play("auto-converge", never.slice(0, 20), { throttlePercent: 80 }).at(-1), "give-up");
    assert.equal(play("auto-converge", never, { throttlePercent: 0 }).at(-1), "give-up");
  });

  it("lets the hypervisor slow the guest no further, however near the end is", () => {
    const shrinking = [1000, 500, 250, 120, 60];
    assert.equal(play("auto-converge", shrinking, { throttlePercent: 90 }).at(-1), "give-up");
    assert.doesNotMatch(play("auto-converge", shrinking, { throttlePercent: 80 }).join(), /give-up/);
  });

  it("does nothing before there is memory to send, nor twice in a round", () => {
    const watch = new ContractWatch({ maximumPauseMs: 300, policy: "strict" });
    assert.equal(watch.next(progress(0, 0, { memoryTotalBytes: 0 })).act, "none");
    assert.equal(watch.limitMs, undefined);
    assert.equal(watch.next(progress(1, 500)).act, "limit");
    watch.next(progress(2, 500));
    watch.next(progress(3, 500));
    for (let again = 0; again < 50; again += 1) assert.equal(watch.next(progress(3, 500)).act, "none");
  });

  it("never allows more than was promised, and ends at most once, whatever the figures are", () => {
    const reading = fc.record({ rounds: fc.nat(100), left: fc.nat(2000), throttlePercent: fc.nat(99) });
    const policies = fc.constantFrom<PausePolicy>("strict", "auto-converge", "post-copy", "suspend-at-last");
    fc.assert(
      fc.property(
        fc.array(reading, { maxLength: 200 }),
        policies,
        fc.integer({ min: 1, max: 60_000 }),
        (readings, policy, maximumPauseMs) => {
          const watch = new ContractWatch({ maximumPauseMs, policy });
          let [last, ends] = [0, 0];
          for (const { rounds, left, throttlePercent } of readings) {
            const what = watch.next(progress(rounds, left, { throttlePercent }));
            if (what.act === "limit") {
              assert.ok(what.pauseMs <= maximumPauseMs && what.pauseMs >= last && what.pauseMs >= 1);
              last = what.pauseMs;
            } else if (what.act !== "none") ends += 1;
          }
          assert.ok(ends <= 1);
        },
      ),
    );
  });
});
