import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type OfflineFacts, type OfflineStage, settleOffline } from "../../src/migration/offline-truth.ts";
import type { Sighting } from "../../src/ports/migration.ts";

const sightings: readonly Sighting[] = [
  { presence: "unknown", text: "no answer" },
  { presence: "absent" },
  { presence: "inactive", movedAway: false },
  { presence: "inactive", movedAway: false, ended: true },
  { presence: "incoming" },
  { presence: "running", moving: false },
  { presence: "running", moving: true },
  { presence: "paused", by: "migration", moving: false },
  { presence: "paused", by: "other", moving: true },
  { presence: "paused", by: "other", moving: false },
];
const stages: readonly OfflineStage[] = ["begun", "saving", "copying", "defining", "restoring", "released", "returning"];
const anyFacts: fc.Arbitrary<OfflineFacts> = fc.record({
  kind: fc.constantFrom("quick" as const, "cold" as const),
  stage: fc.constantFrom(...stages),
  source: fc.constantFrom(...sightings),
  destination: fc.constantFrom(...sightings),
});

const active = ({ presence }: Sighting): boolean => presence === "running" || presence === "paused" || presence === "incoming";
const mayRun = (sighting: Sighting): boolean => sighting.presence === "running" || sighting.presence === "unknown";

/** What the hosts would say after the act: the model that the verdicts are checked against. */
function after(facts: OfflineFacts): OfflineFacts {
  const running: Sighting = { presence: "running", moving: false };
  const { act } = settleOffline(facts);
  switch (act) {
    case "restore-source":
      return { ...facts, source: { presence: "paused", by: "migration", moving: false } };
    case "resume-source":
      return { ...facts, stage: "returning", source: running };
    case "resume-destination":
      return { ...facts, destination: running };
    case "discard-destination":
      return { ...facts, destination: { presence: "inactive", movedAway: false } };
    case "undefine-destination":
      return { ...facts, destination: { presence: "absent" } };
    case "release-source":
      return { ...facts, source: { presence: "absent" } };
    case "on-source":
    case "on-destination":
    case "gone":
    case "wait":
    case "conflict":
      return facts;
  }
}

describe("what to do after a move of a VM that stood still", () => {
  it("lets it run on one side only when the other has said that it does not run it", () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const { act } = settleOffline(facts);
        if (act === "resume-source" || act === "restore-source") assert.ok(!mayRun(facts.destination) && !active(facts.destination));
        if (act === "resume-destination") assert.ok(!active(facts.source) && facts.source.presence !== "unknown");
      }),
    );
  });

  it("uses saved memory on the source only while nothing can have run on the destination, and only once", () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        if (settleOffline(facts).act !== "restore-source") return;
        assert.equal(facts.kind, "quick");
        assert.ok(!["released", "returning", "begun"].includes(facts.stage));
      }),
    );
  });

  it("removes a definition only when the other host has one, and never of an active VM", () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const { act } = settleOffline(facts);
        if (act === "release-source") {
          assert.ok(facts.stage === "released" && !active(facts.source));
          assert.ok(facts.destination.presence !== "absent" && facts.destination.presence !== "unknown");
        }
        if (act === "restore-source") assert.ok(!("ended" in facts.source), "what was saved is older than its disks");
        if (act === "undefine-destination") {
          assert.ok(facts.stage !== "released" && !active(facts.destination));
          assert.ok(facts.source.presence !== "absent" && facts.source.presence !== "unknown");
        }
        if (act === "discard-destination") assert.notEqual(facts.destination.presence, "running");
      }),
    );
  });

  it("comes to an end within a few acts, with at most one host that has it active", () => {
    fc.assert(
      fc.property(anyFacts, (start) => {
        let facts = start;
        for (let round = 0; round < 5; round += 1) facts = after(facts);
        const { act } = settleOffline(facts);
        assert.match(act, /^(on-source|on-destination|gone|wait|conflict)$/);
        if (act === "on-source") assert.ok(!active(facts.destination));
        if (act === "on-destination") assert.ok(!active(facts.source));
      }),
    );
  });

  it("waits for a host that is silent and for a save that is under way", () => {
    const unknown: Sighting = { presence: "unknown", text: "no answer" };
    for (const stage of stages) {
      for (const other of sightings) {
        assert.equal(settleOffline({ kind: "quick", stage, source: unknown, destination: other }).act, "wait");
        assert.equal(settleOffline({ kind: "cold", stage, source: other, destination: unknown }).act, "wait");
      }
    }
    const saving: Sighting = { presence: "paused", by: "other", moving: true };
    assert.equal(settleOffline({ kind: "quick", stage: "saving", source: saving, destination: { presence: "absent" } }).act, "wait");
  });
});
