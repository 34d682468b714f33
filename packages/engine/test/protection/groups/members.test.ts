import assert from "node:assert/strict";
import { test } from "node:test";
import { membersOf, type SelectableVm } from "../../../src/protection/groups/members.ts";
import type { MemberSelector, ProtectionGroup } from "../../../src/protection/groups/model.ts";

const vm = (name: string, more: Partial<SelectableVm> = {}): SelectableVm => ({
  id: `id-${name}`,
  name,
  host: "alpha",
  tags: [],
  pools: [],
  ...more,
});
const group = (name: string, members: MemberSelector): ProtectionGroup => ({
  id: name,
  name,
  members,
  vaultId: "v",
  schedule: { timeZone: "UTC" },
  retention: {},
  limits: {},
  retry: { times: 0, delayMinutes: 1 },
  onMigration: "park",
  atLeast: "crash",
  paused: false,
  createdAt: "2026-11-27T00:00:00Z",
});

test("members are chosen by name, tag, host or storage pool, exceptions win, and the rest has a group of its own", () => {
  const vms = [
    vm("web1"),
    vm("web-test"),
    vm("db1", { tags: ["database"] }),
    vm("mail", { host: "bravo" }),
    vm("files", { pools: ["slow"] }),
    vm("lonely"),
  ];
  const groups = [
    group("web", { names: ["web*"], except: ["*-test"] }),
    group("data", { tags: ["database"], pools: ["slow"] }),
    group("bravo", { hosts: ["bra?o"] }),
    group("others", { rest: true, except: ["lonely"] }),
  ];
  const { members, uncovered } = membersOf(groups, vms);
  assert.deepEqual(Object.fromEntries(members), {
    web: ["id-web1"],
    data: ["id-db1", "id-files"],
    bravo: ["id-mail"],
    others: ["id-web-test"],
  });
  assert.deepEqual(uncovered, ["id-lonely"]);
});

test("a new VM that matches is a member by itself, and one VM may be in several groups", () => {
  const groups = [group("daily", { names: ["web*"] }), group("hourly", { names: ["web9", "id-web9"] })];
  const { members, uncovered } = membersOf(groups, [vm("web9")]);
  assert.deepEqual([...members.values()], [["id-web9"], ["id-web9"]]);
  assert.deepEqual(uncovered, []);
});
