import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Draft } from "../../src/apply/draft.ts";
import { parseClusterFile } from "../../src/apply/parse.ts";
import { planPlacement } from "../../src/apply/plan-placement.ts";
import { noPlacementSettings, type PlacementSettings } from "../../src/placement/rules.ts";

const hosts = [
  { id: "h1", name: "alpha" },
  { id: "h2", name: "bravo" },
];

function planned(section: string, before: PlacementSettings = noPlacementSettings): { draft: Draft; after: PlacementSettings | undefined } {
  const { file } = parseClusterFile(`apiVersion: godwit/v1\nkind: Cluster\nplacement:\n${section}`, "c.yaml");
  const draft = new Draft();
  return { draft, after: planPlacement(file.placement!, { before, hosts }, draft) };
}

const full = `
  sites: { alpha: north }
  tags: [{ vms: ['dc*'], tags: [dc] }]
  rules:
    - { name: mail, vms: { names: ['mail*'] }, keepApart: enforce, profile: exchange-dag-member }
    - { name: licence, vms: { tags: [dc] }, possibleHosts: [alpha] }
  profiles:
    - { name: dongle, title: Licence server, allowedKinds: [cold] }
`;

describe("the placement section of a cluster file", () => {
  it("is made as it says, once", () => {
    const { draft, after } = planned(full);
    assert.deepEqual(draft.problems, []);
    assert.deepEqual(
      draft.changes.map(({ action, path, subject }) => `${action} ${path} (${subject})`),
      [
        "add placement.rules[0] (rule mail)",
        "add placement.rules[1] (rule licence)",
        "add placement.profiles[0] (workload profile dongle)",
        "change placement.sites (placement sites)",
        "change placement.tags (placement tags)",
      ],
    );
    assert.equal(after?.profiles[0]?.savedState, "never", "safe unless it says otherwise");
    assert.equal(planned(full, after).after, undefined);
  });

  it("replaces the lists that it has, and leaves the others", () => {
    const { after } = planned(full);
    const next = planned("  rules: [{ name: mail, vms: { names: ['*'] }, priority: high }]", after);
    assert.deepEqual(
      next.draft.changes.map(({ action, subject }) => `${action} ${subject}`),
      ["change rule mail", "remove rule licence"],
    );
    assert.deepEqual(next.after?.tags, after?.tags);
  });

  it("names everything in it that means nothing", () => {
    const { draft } = planned(`
  sites: { zulu: north }
  rules:
    - { name: a, vms: {}, possibleHosts: [alpha, yankee], profile: nothing }
    - { name: a, vms: { names: [x] } }
`);
    assert.deepEqual(
      draft.problems.map(({ path, text }) => `${path.join(".")}: ${text.split(";")[0]}`),
      [
        "placement.sites.zulu: there is no host 'zulu'",
        "placement.rules.0.vms: selects no VM: give names, tags or where (names: ['*'] for all)",
        "placement.rules.0.possibleHosts.1: there is no host 'yankee'",
        "placement.rules.0.profile: there is no profile 'nothing'",
        "placement.rules.1.name: a rule 'a' is there already",
      ],
    );
    assert.throws(() => planned("  rules: [{ name: a, vms: { names: [x] }, keepApart: maybe }]"), /expected one of prefer, enforce/);
  });
});
