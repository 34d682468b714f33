import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { HostState, VmFacts } from "../../src/index.ts";
import { locate, type Sighting } from "../../src/inventory/sightings.ts";
import { defaultTiming, retryDelay } from "../../src/inventory/timing.ts";
import { vmFacts } from "./scripted-host.ts";

/** `alpha running`, `beta lost paused transient`… */
function sighting(text: string, at = 0): { sighting: Sighting; state: HostState } {
  const [hostId = "", ...words] = text.split(" ");
  const state = words.find((word) => ["running", "paused", "off", "crashed", "suspended"].includes(word)) as VmFacts["state"];
  const facts = vmFacts("1", { state, persistent: !words.includes("transient") });
  const active = state === "running" || state === "suspended";
  return {
    sighting: { hostId, facts, seenAt: at, askedAt: at, activeSince: active ? at : undefined },
    state: words.includes("lost") ? "lost" : "up",
  };
}

function whereIs(...texts: readonly string[]): string | undefined {
  const all = texts.map((text) => sighting(text));
  const states = new Map(all.map(({ sighting, state }) => [sighting.hostId, state]));
  return locate(
    all.map(({ sighting }) => sighting),
    (hostId) => states.get(hostId)!,
  )?.chosen.hostId;
}

test("where a VM is, that two hosts know", () => {
  const table = [
    ["a off", "b running", "b"],
    ["a running", "b paused transient", "a"],
    ["a paused", "b paused transient", "a"],
    ["a paused", "b running transient", "b"],
    ["a lost running", "b off", "a"],
    ["a lost running", "b paused", "a"],
    ["a lost running", "b running", "b"],
    ["a lost paused", "b paused transient", "a"],
    ["a lost paused", "b paused", "b"],
    ["a lost off", "b off", "b"],
    ["a off", "b crashed", "a"],
    ["a off", "b suspended", "b"],
    ["a off", "b off", "a"],
  ] as const;
  for (const [one, other, wanted] of table) {
    assert.equal(whereIs(one, other), wanted, `${one}, ${other}`);
    assert.equal(whereIs(other, one), wanted, `${other}, ${one}`);
  }
  assert.equal(whereIs(), undefined);
});

test("property: two copies are told only of hosts that answer, run it, and were asked after the other began", () => {
  const any = fc.record({
    state: fc.constantFrom<VmFacts["state"]>("running", "paused", "off", "blocked"),
    persistent: fc.boolean(),
    up: fc.boolean(),
    since: fc.nat(20),
    asked: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(any, { minLength: 1, maxLength: 4 }), (given) => {
      const all = given.map(({ state, persistent, since, asked }, at): Sighting => {
        const active = state === "running" || state === "blocked";
        return {
          hostId: `h${at}`,
          facts: vmFacts("1", { state, persistent }),
          seenAt: 0,
          askedAt: Math.max(asked, since),
          activeSince: active ? since : undefined,
        };
      });
      const where = locate(all, (hostId) => (given[Number(hostId.slice(1))]!.up ? "up" : "lost"))!;
      const copies = where.alsoRunning.length > 0 ? [where.chosen, ...where.alsoRunning] : [];
      for (const copy of copies) {
        assert.ok(given[Number(copy.hostId.slice(1))]!.up && ["running", "blocked"].includes(copy.facts.state));
        for (const other of copies) assert.ok(copy.askedAt >= other.activeSince!);
      }
      assert.ok(where.alsoRunning.length === 0 || where.doubtful.length === 0);
    }),
  );
});

test("retries wait longer each time, never longer than the limit, and not in step", () => {
  const { retryMs } = defaultTiming;
  assert.deepEqual(
    [1, 2, 3, 4, 5, 1000].map((attempt) => retryDelay(attempt, retryMs, () => 0.5)),
    [500, 1000, 2000, 4000, 5000, 5000],
  );
  assert.deepEqual([retryDelay(1, retryMs, () => 0), retryDelay(1, retryMs, () => 1), retryDelay(9, retryMs, () => 1)], [375, 625, 5000]);
});
