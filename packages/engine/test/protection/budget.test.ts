import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Budget } from "../../src/protection/budget.ts";

const MiB = 1 << 20;

/** A second of a capture that reads as fast as it may, 100 MiB/s at most, and of a guest that wrote 100 times. */
function looker(budget: Budget): (meanMs: number, requests?: number, ms?: number) => number {
  let rate = Infinity;
  return (meanMs, requests = 100, ms = 1000) =>
    (rate = budget.next({ ms, measured: Math.min(rate, 100 * MiB), requests, totalMs: meanMs * requests }));
}

describe("what a guest's writes allow a capture to read", () => {
  it("falls at once when they take half as long again as before, and everything when they do not", () => {
    const look = looker(new Budget(4));
    assert.equal(look(6.4), Infinity);
    assert.equal(look(6.6), 60 * MiB);
    assert.equal(look(4), 90 * MiB);
    assert.equal(look(4), 135 * MiB);
    assert.equal(look(4), Infinity);
  });

  it("never falls below a quarter of what could be read", () => {
    const look = looker(new Budget(4));
    const rates = [100, 50, 30, 20, 15, 12].map((ms) => Math.round(look(ms) / MiB));
    assert.deepEqual(rates, [60, 36, 25, 25, 25, 25]);
  });

  it("does not mind differences that nobody notices, nor a few writes", () => {
    assert.equal(looker(new Budget(0.2))(1.1), Infinity);
    assert.equal(looker(new Budget(undefined))(15), Infinity);
    assert.equal(looker(new Budget(1))(9, 5), Infinity);
    assert.equal(looker(new Budget(0.3))(1.8, 30, 500), Infinity);
  });

  it("minds few writes when they wait for long, or when they are many together", () => {
    assert.equal(looker(new Budget(1))(200, 2), 60 * MiB);
    const look = looker(new Budget(1));
    assert.deepEqual([look(9, 9), look(9, 9), look(9, 9)], [Infinity, Infinity, 60 * MiB]);
  });

  it("gives up slowing what is not slow because of the capture, and minds what comes on top", () => {
    const look = looker(new Budget(4));
    assert.deepEqual([look(20), look(20), look(20)], [60 * MiB, 36 * MiB, Infinity]);
    assert.equal(look(25), Infinity);
    assert.equal(look(40), 60 * MiB);
  });

  it("does not slow a capture that reads nothing", () => {
    const budget = new Budget(4);
    assert.equal(budget.next({ ms: 1000, measured: 0, requests: 50, totalMs: 5000 }), Infinity);
  });

  it("rises when the guest writes nothing any more", () => {
    const look = looker(new Budget(4));
    look(50);
    assert.equal(look(0, 0), 90 * MiB);
  });
});
