import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Board } from "../../src/placement/board.ts";
import { ruleChecks } from "../../src/placement/rule-checks.ts";
import type { MoveKind } from "../../src/placement/rules.ts";
import { type SiteSketch, siteOf, vmNamed } from "./sites.ts";

const hosts = [{ name: "alpha" }, { name: "bravo", closed: undefined as { code: string; text: string } | undefined }];

function checks(sketch: Partial<SiteSketch>, kind: MoveKind = "live"): string[] {
  const site = siteOf({ hosts, vms: [{ name: "dc1", on: "alpha" }], ...sketch });
  const board = new Board(site, new Set(["dc1"]));
  return ruleChecks(vmNamed(site, "dc1"), { seat: board.seat("bravo")!, board, kind }).map(({ verdict, text }) => `${verdict}: ${text}`);
}

describe("the site's rules on a move that somebody asks for", () => {
  it("let it pass where none is against it", () => {
    assert.match(checks({}).join(), /^pass: bravo takes VMs/);
  });

  it("refuse a host in maintenance, one that a rule forbids, and one with a VM that it is kept apart from", () => {
    const closed = { code: "maintenance", text: "the host is in maintenance" };
    assert.deepEqual(checks({ hosts: [hosts[0]!, { name: "bravo", closed }] }), ["fail: the host is in maintenance"]);
    const rules = [
      { name: "licence", vms: { names: ["dc1"] }, possibleHosts: ["alpha"] },
      { name: "dcs", vms: { names: ["dc*"] }, keepApart: "enforce" as const },
    ];
    const vms = [
      { name: "dc1", on: "alpha" },
      { name: "dc2", on: "bravo" },
    ];
    assert.deepEqual(
      checks({ vms, settings: { rules } }).map((text) => text.slice(0, 20)),
      ["fail: rule 'licence'", "fail: rule 'dcs' kee"],
    );
  });

  it("refuse a kind that its workload does not bear, and doubt one without what it needs", () => {
    const settings = { tags: [{ vms: ["dc1"], tags: ["dc"] }] };
    assert.match(checks({ settings }, "quick").join(), /fail: dc1 \(Active Directory domain controller\) does not bear a quick migration/);
    const without = [{ name: "dc1", on: "alpha", generationId: false }];
    assert.match(checks({ settings, vms: without }).join(), /^warn: .*no VM-Generation-ID/);
    assert.match(checks({ settings, vms: without }, "cold").join(), /^pass: .*is given a VM-Generation-ID on the way/);
    assert.match(checks({ settings, vms: [{ ...without[0]!, generationId: true }] }).join(), /^pass/);
  });
});
