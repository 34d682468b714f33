import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { planPrune, type Point } from "@godwit/vault";
import type { MemberRecord, ProtectionGroup } from "../../../src/protection/groups/model.ts";
import { policiesFor, prunePolicy, strictest } from "../../../src/protection/groups/retention.ts";

const group = (id: string, vaultId: string, retention: ProtectionGroup["retention"]): ProtectionGroup =>
  ({ id, name: id, vaultId, retention, schedule: { timeZone: "UTC" } }) as ProtectionGroup;
const member = (groupId: string, vmId: string): MemberRecord => ({ groupId, vmId, vm: vmId, since: "", failures: 0, runs: [] });
const day = (number: number): string => new Date(Date.UTC(2026, 10, number)).toISOString();
const point = (number: number, name = "web"): Point => ({
  id: `${name}${number}`,
  name,
  time: day(number),
  grid: 4096,
  consistency: { level: "crash", evidence: [] },
  disks: [],
  reasons: [],
  figures: {},
});

describe("retention", () => {
  test("counts and days become what the vault's prune understands", () => {
    assert.deepEqual(prunePolicy({ last: 2, daily: undefined, withinDays: 3 }), { last: 2, within: 259_200_000 });
  });

  test("of every group that protects the VM into the vault counts, of no other", () => {
    const groups = [
      group("a", "v", { last: 1 }),
      group("b", "v", { daily: 2 }),
      group("c", "other", { last: 9 }),
      group("d", "v", { last: 9 }),
      { ...group("e", "v", { last: 1 }), paths: ["/etc"] },
    ];
    const members = [member("a", "x"), member("b", "x"), member("c", "x"), member("d", "y"), member("e", "x")];
    const found = (points?: string): string[] =>
      policiesFor(groups, members, { vmId: "x", vm: "web", vaultId: "v", ...(points !== undefined && { points }) }).map(
        ({ group: name }) => name,
      );
    assert.deepEqual(found(), ["a", "b"]);
    assert.deepEqual(found("web:e"), ["e"]);
  });

  test("of one group never deletes what another one keeps, and says whose reason it is", () => {
    const list = { points: [1, 2, 3, 4].map((number) => point(number)).concat(point(1, "mail")), damaged: [], locked: [] };
    const plan = (last: number): ReturnType<typeof planPrune> =>
      planPrune({ list, holds: [], now: Date.UTC(2026, 10, 5) }, { byName: { web: { last } } });
    const joined = strictest(
      [
        { group: "gold", plan: plan(1) },
        { group: "silver", plan: plan(3) },
      ],
      "web",
    );
    assert.deepEqual(
      joined.points.map(({ id, keep }) => [id, keep]),
      [
        ["web4", true],
        ["web3", true],
        ["web2", true],
        ["web1", false],
      ],
    );
    assert.match(joined.points[1]!.reasons.join(), /^silver: last 3: number 2$/);
    assert.match(joined.points[3]!.reasons.join(), /gold: .*silver: /);
  });

  test("without any group lets nothing go", () => {
    assert.deepEqual(strictest([], "web").points, []);
  });
});
