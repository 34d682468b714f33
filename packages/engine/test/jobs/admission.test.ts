import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Applicant, decideAdmission } from "../../src/jobs/admission.ts";

function job(id: string, locks: string[], slots: string[] = [], resumed = false): Applicant {
  return { id, title: `Job ${id}`, locks, slots: slots.map((name) => ({ name, label: name, limit: async () => 0 })), resumed };
}
const limits = (of: Record<string, number | Error>): ReadonlyMap<string, number | Error> => new Map(Object.entries(of));

test("a lock is given in the order of creation, and a waiting job says behind whom", () => {
  const { admitted, waiting } = decideAdmission({
    running: [job("a", ["vm:1"])],
    queued: [job("b", ["vm:1", "vm:2"]), job("c", ["vm:2"]), job("d", ["vm:3"])],
    limits: limits({}),
  });
  assert.deepEqual(admitted, ["d"]);
  assert.deepEqual(waiting.get("b"), [{ code: "behind-job", text: "waits until job a (Job a) ended" }]);
  assert.deepEqual(waiting.get("c"), [{ code: "behind-job", text: "waits until job b (Job b) ended" }]);
});

test("a full slot names who is in it; another slot's jobs pass", () => {
  const { admitted, waiting } = decideAdmission({
    running: [job("a", [], ["s"])],
    queued: [job("b", [], ["s"]), job("c", [], ["t"])],
    limits: limits({ s: 1, t: 1 }),
  });
  assert.deepEqual(admitted, ["c"]);
  assert.deepEqual(waiting.get("b"), [{ code: "no-slot", text: "all 1 s are taken: waits behind job a (Job a)" }]);
});

test("a job that needs two slots is not starved by jobs that need one", () => {
  const { admitted } = decideAdmission({
    running: [job("a", [], ["s"])],
    queued: [job("b", [], ["s", "t"]), job("c", [], ["t"])],
    limits: limits({ s: 1, t: 1 }),
  });
  assert.deepEqual(admitted, []);
});

test("a job that waits for a slot limited to 0, or unreadable, holds nobody back", () => {
  const { admitted, waiting } = decideAdmission({
    running: [],
    queued: [job("a", [], ["zero", "t"]), job("b", [], ["broken", "t"]), job("c", [], ["t"])],
    limits: limits({ zero: 0, t: 1, broken: new Error("no such host") }),
  });
  assert.deepEqual(admitted, ["c"]);
  assert.equal(waiting.get("a")?.[0]?.text, "zero are limited to 0");
  assert.equal(waiting.get("b")?.[0]?.text, "the limit of broken cannot be read: no such host");
});

test("what a dead server ran is not held back by a limit", () => {
  const input = { running: [], queued: [job("a", [], ["s"], true), job("b", [], ["s"], true)], limits: limits({ s: 1 }) };
  assert.deepEqual(decideAdmission(input).admitted, ["a", "b"]);
});

const names = fc.subarray(["1", "2", "3", "4"]);
const applicants = fc
  .array(fc.record({ locks: names, slots: names }), { maxLength: 12 })
  .map((list) => list.map(({ locks, slots }, i) => job(`j${i}`, locks, slots)));
const someLimits = fc.record({ "1": fc.integer({ min: 1, max: 3 }), "2": fc.constant(1), "3": fc.constant(2), "4": fc.constant(3) });

test("never two holders of a lock, never more than the limit in a slot, and everybody gets his turn", () => {
  fc.assert(
    fc.property(applicants, someLimits, (jobs, some) => {
      let queued: Applicant[] = jobs;
      let running: Applicant[] = [];
      const orderOfLock = new Map<string, string[]>();
      for (let round = 0; queued.length > 0 || running.length > 0; round += 1) {
        assert.ok(round <= jobs.length, "no deadlock and no starvation: each round ends at least one job");
        const { admitted, waiting } = decideAdmission({ running, queued, limits: limits(some) });
        assert.equal(admitted.length + waiting.size, queued.length);
        running = [...running, ...queued.filter(({ id }) => admitted.includes(id))];
        queued = queued.filter(({ id }) => !admitted.includes(id));
        const locks = running.flatMap((each) => each.locks);
        assert.equal(new Set(locks).size, locks.length);
        for (const [name, limit] of Object.entries(some)) {
          assert.ok(running.filter(({ slots }) => slots.some((slot) => slot.name === name)).length <= limit);
        }
        for (const each of running) {
          for (const lock of each.locks) orderOfLock.set(lock, [...(orderOfLock.get(lock) ?? []), each.id]);
        }
        running = running.slice(1);
      }
      for (const ids of orderOfLock.values()) {
        const numbers = [...new Set(ids)].map((id) => Number(id.slice(1)));
        assert.deepEqual(
          numbers,
          numbers.toSorted((a, b) => a - b),
        );
      }
    }),
    { numRuns: 300 },
  );
});
