import assert from "node:assert/strict";
import { test } from "node:test";
import { atOnce, type Captures, Recoveries, recoverJob } from "../../src/index.ts";
import { decideAdmission } from "../../src/jobs/admission.ts";

const gib = 2 ** 30;

test("a server runs as many captures at once as its machine bears, and never fewer than two", () => {
  assert.equal(atOnce("captures", { cores: 2, memoryBytes: 24 * gib }), 4);
  assert.equal(atOnce("captures", { cores: 8, memoryBytes: 3.9 * gib }), 3);
  assert.equal(atOnce("captures", { cores: 64, memoryBytes: 512 * gib }), 8);
  assert.equal(atOnce("captures", { cores: 1, memoryBytes: gib }), 2);
});

test("a recovery counts for two captures, as it writes two disks at a time", () => {
  assert.equal(atOnce("recoveries", { cores: 2, memoryBytes: 24 * gib }), 2);
  assert.equal(atOnce("recoveries", { cores: 8, memoryBytes: 8 * gib }), 4);
  assert.equal(atOnce("recoveries", { cores: 64, memoryBytes: 512 * gib }), 8);
});

test("of fifty recoveries asked for at once, so many run as are allowed; each of the others says why it waits", () => {
  const kind = recoverJob(
    new Recoveries({ atOnce: 3, captures: undefined as unknown as Captures, kept: undefined as never, open: undefined as never }),
  );
  const queued = Array.from({ length: 50 }, (_, at) => {
    const input = { vmId: `vm-${at}` } as Parameters<typeof kind.slots>[0];
    return { id: `job-${at}`, title: `recover ${at}`, locks: kind.locks(input), slots: kind.slots(input), resumed: false };
  });
  const { admitted, waiting } = decideAdmission({ running: [], queued, limits: new Map([["recoveries", 3]]) });
  assert.deepEqual(admitted, ["job-0", "job-1", "job-2"]);
  assert.equal(waiting.size, 47);
  for (const reasons of waiting.values()) assert.match(reasons.map(({ text }) => text).join(), /recoveries that this server runs at once/);
});
