import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { planDrain } from "../../src/planning/drain.ts";
import type { DrainPlan, DrainRequest } from "../../src/planning/drain-model.ts";
import { schedule } from "../../src/planning/schedule.ts";
import { drainPlanText } from "../../src/planning/text.ts";
import type { Site } from "../../src/placement/model.ts";
import { gib, type SiteSketch, siteOf } from "../placement/sites.ts";
import { complaint, randomSite, someWayExists } from "./random-site.ts";

const request = (hostId: string): DrainRequest => ({
  hostId,
  limit: () => 2,
  cost: (vm) => ({ overheadMs: 1000, bytes: vm.memoryBytes, dirtyBytesPerSecond: 0, bytesPerSecond: 1.25e9 }),
});

const drain = (site: Site, more: Partial<DrainRequest> = {}): DrainPlan => planDrain({ ...request(site.hosts[0]!.id), ...more, site });

function planned(sketch: SiteSketch, more: Partial<DrainRequest> = {}): DrainPlan {
  return drain(siteOf(sketch), more);
}

const anyMove = fc.record({
  to: fc.constantFrom("b", "c", "d"),
  cost: fc.record({
    overheadMs: fc.nat(5000),
    bytes: fc.nat(8 * gib),
    dirtyBytesPerSecond: fc.nat(1e9),
    bytesPerSecond: fc.integer({ min: 1e6, max: 2e9 }),
  }),
});

const where = (plan: DrainPlan): Map<string, string> =>
  new Map(plan.entries.flatMap(({ vmId, destinationId }) => (destinationId === undefined ? [] : [[vmId, destinationId]])));

describe("the plan of a drain", () => {
  it("reads like this", () => {
    const plan = planned({
      hosts: [{ name: "alpha" }, { name: "bravo", pools: new Map([["ssd", 40 * gib]]) }, { name: "charlie" }],
      vms: [
        { name: "mail1", on: "alpha", memoryBytes: 2 * gib },
        { name: "mail2", on: "charlie", memoryBytes: 2 * gib },
        { name: "web", on: "alpha" },
        { name: "files", on: "alpha", localDisks: { pool: "ssd", bytes: 20 * gib } },
        { name: "batch", on: "alpha", state: "paused" },
        { name: "old", on: "alpha", state: "off" },
        { name: "fixed", on: "alpha" },
      ],
      settings: {
        rules: [
          { name: "mail", vms: { names: ["mail*"] }, keepApart: "enforce", priority: "high", profile: "exchange-dag-member" },
          { name: "licence", vms: { names: ["fixed"] }, possibleHosts: ["alpha"] },
        ],
      },
    });
    assert.deepEqual(drainPlanText(plan), [
      "alpha: 3 of 6 VMs move, 2 at a time, in about 5.9 s; NOT possible as a whole",
      "1. mail1 → bravo (live) over migration, pause at most 2000 ms, at 0.0 s for 5.3 s: bravo would be 38 % full",
      "2. files → bravo (shared-nothing) over migration, disks into 'ssd', at 0.0 s for 3.1 s: bravo would be 38 % full",
      "3. web → charlie (live) over migration, at 2.7 s for 3.1 s: charlie would be 38 % full",
      "BLOCKED fixed: no host takes fixed; nearest is bravo: rule 'licence' lets fixed run on alpha only\n  → bravo: add bravo to the possible hosts of rule 'licence'; charlie: add charlie to the possible hosts of rule 'licence'; or shut it down: godwit vm stop fixed",
      "BLOCKED batch: batch is paused, and only a running guest moves live\n  → let it run on, or shut it down",
      "stays: old is off: only its definition is here",
      "bravo: 2 arrive, room 8.0 GiB → 5.0 GiB",
      "charlie: 1 arrive, room 6.0 GiB → 5.0 GiB",
    ]);
  });

  it("moves VMs by priority, then start group, then size", () => {
    const vms = ["c", "b", "a", "d"].map((name) => ({ name, on: "alpha", memoryBytes: (name === "a" ? 2 : 1) * gib }));
    const rules = [
      { name: "low", vms: { names: ["d"] }, priority: "low" as const },
      { name: "first", vms: { names: ["c"] }, startGroup: -1 },
      { name: "high", vms: { names: ["b"] }, priority: "high" as const },
    ];
    const plan = planned({ hosts: [{ name: "alpha" }, { name: "bravo" }], vms, settings: { rules } });
    assert.deepEqual(plan.entries.map(({ vm }) => vm).join(""), "bcad");
  });

  it("goes only to the hosts that were named", () => {
    const site = { hosts: [{ name: "alpha" }, { name: "bravo" }, { name: "charlie" }], vms: [{ name: "web", on: "alpha" }] };
    assert.deepEqual([...where(planned(site, { to: new Set(["charlie"]) })).values()], ["charlie"]);
    assert.equal(planned(site, { to: new Set() }).possible, false);
  });

  it("finds room by moving what was placed before, where a greedy plan would give up", () => {
    const hosts = [{ name: "alpha" }, { name: "bravo", memoryBytes: 5 * gib }, { name: "charlie", memoryBytes: 4 * gib }];
    const vms = [3, 2, 2, 2].map((size, index) => ({ name: `vm${index}`, on: "alpha", memoryBytes: size * gib }));
    const plan = planned({ hosts, vms });
    assert.ok(plan.possible, drainPlanText(plan).join("\n"));
    assert.equal(
      plan.room.every(({ freeAfter }) => freeAfter === 0),
      true,
    );
  });

  it("says of a workload that may only be shut down what to do", () => {
    const own = { name: "licence-dongle", title: "Licence server", tags: ["dongle"], allowedKinds: ["cold" as const] };
    const profile = {
      ...own,
      savedState: "never" as const,
      vmGenerationId: "not-needed" as const,
      dynamicMemory: "allowed" as const,
      advice: ["x"],
      source: "ours",
    };
    const settings = { profiles: [profile], tags: [{ vms: ["key"], tags: ["dongle"] }] };
    const [entry] = planned({ hosts: [{ name: "alpha" }, { name: "bravo" }], vms: [{ name: "key", on: "alpha" }], settings }).entries;
    assert.match(
      `${entry?.reason.text} → ${entry?.choice}`,
      /Licence server.* does not allow live migration → shut it down: godwit vm stop key/,
    );
    assert.deepEqual(entry?.advice, ["x"]);
  });

  it("takes the concurrency that finishes first, within every host's limit", () => {
    const vms = [1, 2, 3, 4].map((n) => ({ name: `vm${n}`, on: "alpha", memoryBytes: gib / 100 }));
    const site = { hosts: [{ name: "alpha" }, { name: "bravo" }], vms };
    assert.equal(planned(site, { limit: () => 8 }).concurrency, 4, "fixed costs hide each other");
    assert.equal(planned(site, { limit: (host) => (host === "alpha" ? 8 : 1) }).concurrency, 1, "one host can take only one at a time");
    assert.equal(planned(site, { limit: () => 8, contention: 1 }).concurrency, 1, "they wait for each other");
    const linkBound = planned(site, {
      limit: () => 8,
      cost: () => ({ overheadMs: 0, bytes: 1e9, dirtyBytesPerSecond: 0, bytesPerSecond: 1.25e9 }),
    });
    assert.equal(linkBound.concurrency, 1, "one link is not faster for being shared");
  });
});

describe("over random clusters", () => {
  it("breaks no rule, exceeds no capacity, and accounts for every VM once", () => {
    fc.assert(
      fc.property(randomSite({ hosts: 6, vms: 24 }), (site) => {
        const plan = drain(site);
        assert.equal(complaint(site, where(plan)), undefined);
        const here = site.vms.filter(({ hostId }) => hostId === "h0").map(({ id }) => id);
        assert.deepEqual(plan.entries.map(({ vmId }) => vmId).sort(), here.sort());
        for (const entry of plan.entries) {
          const { state } = site.vms.find(({ id }) => id === entry.vmId)!;
          assert.equal(entry.verdict === "stay", state === "off");
          if (state === "paused") assert.equal(entry.verdict, "blocked");
          if (entry.verdict === "blocked") assert.ok(entry.choice && entry.reason.text);
        }
      }),
      { numRuns: 400 },
    );
  });

  it("leaves nobody over when some way exists", () => {
    fc.assert(
      fc.property(randomSite({ hosts: 4, vms: 8 }), (site) => {
        const movable = site.vms.filter(({ hostId, state }) => hostId === "h0" && state === "running");
        const plan = drain({ ...site, vms: site.vms.filter(({ hostId, state }) => hostId !== "h0" || state === "running") });
        assert.equal(plan.possible, someWayExists(site, movable), drainPlanText(plan).join("\n"));
      }),
      { numRuns: 400 },
    );
  });

  it("starts no more at a time than any host may take part in", () => {
    fc.assert(
      fc.property(
        fc.array(anyMove, { maxLength: 30 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 4 }),
        (wanted, sourceLimit, limit) => {
          const { moves, totalMs } = schedule(wanted, {
            cost: ({ cost }) => cost,
            destination: ({ to }) => to,
            sourceLimit,
            destinationLimit: () => limit,
            bytesPerSecond: 1e9,
            contention: 0.3,
          });
          const under = (at: number): typeof moves => moves.filter((one) => one.startsAtMs <= at && at < one.arrivesAtMs);
          for (const { move, startsAtMs, arrivesAtMs } of moves) {
            assert.ok(under(startsAtMs).length <= sourceLimit);
            assert.ok(under(startsAtMs).filter((one) => one.move.to === move.to).length <= limit);
            assert.ok(startsAtMs <= arrivesAtMs && arrivesAtMs <= totalMs);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
