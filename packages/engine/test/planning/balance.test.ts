import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type BalancePlan, planBalance } from "../../src/planning/balance.ts";
import { gib, type SiteSketch, siteOf } from "../placement/sites.ts";
import { complaint, randomSite } from "./random-site.ts";

const hosts = [{ name: "alpha" }, { name: "bravo" }, { name: "charlie" }];
const guests = (on: string, count: number, size = 1): SiteSketch["vms"] =>
  Array.from({ length: count }, (_, n) => ({ name: `${on}${n}`, on, memoryBytes: size * gib }));
const moves = ({ moves }: BalancePlan): string[] => moves.map(({ source, destination }) => `${source}→${destination}`);

describe("balance", () => {
  it("leaves a cluster alone in which no host is too full, however uneven it is", () => {
    const plan = planBalance({ site: siteOf({ hosts, vms: guests("alpha", 6) }) });
    assert.deepEqual(plan.moves, []);
    assert.match(plan.reason, /no host is more than 80 % full/);
  });

  it("relieves a host that is too full with as few moves as it takes, and says what becomes of both", () => {
    const plan = planBalance({ site: siteOf({ hosts, vms: [...guests("alpha", 8), ...guests("bravo", 3)] }) });
    assert.deepEqual(moves(plan), ["alpha→charlie", "alpha→charlie"]);
    assert.match(plan.moves[0]?.reason ?? "", /alpha goes from 100 % to 88 % full, charlie from 0 % to 13 %/);
    assert.deepEqual(
      plan.loads.map(({ after }) => Math.round(after * 8)),
      [6, 3, 2],
    );
  });

  it("does not move for a small gain, breaks no soft rule for it, and moves nobody who rests", () => {
    const even = [...guests("alpha", 7), ...guests("bravo", 7), ...guests("charlie", 7)];
    assert.deepEqual(planBalance({ site: siteOf({ hosts, vms: even }) }).moves, []);
    const vms = guests("alpha", 8);
    const rules = [{ name: "home", vms: { names: ["alpha*"] }, preferredHosts: ["alpha"] }];
    const kept = planBalance({ site: siteOf({ hosts, vms, settings: { rules } }) });
    assert.deepEqual(kept.moves, []);
    assert.match(kept.reason, /alpha is 100 % full, but no move would be worth it/);
    const rest = new Set(vms.map(({ name }) => name));
    assert.deepEqual(planBalance({ site: siteOf({ hosts, vms }), rest }).moves, []);
  });

  it("goes to no host whose CPUs have nothing to give", () => {
    const busy = [
      { name: "alpha", cpuBusy: 0.5 },
      { name: "bravo", cpuBusy: 0.95 },
      { name: "charlie", cpuBusy: 0.2 },
    ];
    const vms = [...guests("alpha", 8), ...guests("charlie", 2)];
    assert.deepEqual(moves(planBalance({ site: siteOf({ hosts: busy, vms }) })), ["alpha→charlie", "alpha→charlie"]);
    const all = busy.map(({ name }) => ({ name, cpuBusy: 0.95 }));
    assert.equal(moves(planBalance({ site: siteOf({ hosts: all, vms }) })).length, 2, "nowhere is it better than here");
    const few = [{ name: "alpha" }, { name: "bravo", cpus: 1 }, { name: "charlie", cpus: 1 }];
    const small = ["bravo", "charlie"].flatMap((on) => guests(on, 4, 1 / 8));
    assert.deepEqual(moves(planBalance({ site: siteOf({ hosts: few, vms: [...guests("alpha", 8), ...small] }) })), []);
  });

  it("comes to rest: balancing what was balanced moves nothing, and no rule is broken", () => {
    fc.assert(
      fc.property(randomSite({ hosts: 5, vms: 30 }), (site) => {
        const plan = planBalance({ site, maximumMoves: 1000 });
        const to = new Map(plan.moves.map(({ vmId, destinationId }) => [vmId, destinationId]));
        assert.equal(to.size, plan.moves.length, "nobody is moved twice");
        if (plan.moves.length > 0) assert.equal(complaint(site, to), undefined);
        const after = {
          ...site,
          hosts: site.hosts.map((host) => ({ ...host, freeMemoryBytes: undefined })),
          vms: site.vms.map((vm) => ({ ...vm, hostId: to.get(vm.id) ?? vm.hostId })),
        };
        const rest = new Set(to.keys());
        assert.deepEqual(
          planBalance({ site: after, maximumMoves: 1000, rest }).moves.filter(({ vmId }) => rest.has(vmId)),
          [],
        );
      }),
      { numRuns: 200 },
    );
  });
});
