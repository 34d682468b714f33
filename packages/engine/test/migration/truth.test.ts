import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { settle, settleWithout } from "../../src/migration/truth.ts";
import type { Sighting } from "../../src/ports/migration.ts";

const sightings: readonly Sighting[] = [
  { presence: "unknown", text: "no answer" },
  { presence: "absent" },
  { presence: "inactive", movedAway: false },
  { presence: "inactive", movedAway: true },
  { presence: "incoming" },
  { presence: "running", moving: false },
  { presence: "running", moving: true },
  { presence: "paused", by: "migration", moving: false },
  { presence: "paused", by: "migration", moving: true },
  { presence: "paused", by: "other", moving: false },
];
const any = fc.constantFrom(...sightings);

/** What the hosts would say after the act: the model that the verdicts are checked against. */
function after(act: string, source: Sighting, destination: Sighting): [Sighting, Sighting] {
  switch (act) {
    case "resume-source":
      return [{ presence: "running", moving: false }, destination];
    case "discard-destination":
      return [source, { presence: "absent" }];
    case "forget-source":
      return [{ presence: "absent" }, destination];
    default:
      return [source, destination];
  }
}

const runs = (sighting: Sighting): boolean => sighting.presence === "running";
const mayRun = (sighting: Sighting): boolean => runs(sighting) || sighting.presence === "unknown";

describe("what to do after a move that ended in any way", () => {
  it("never lets a guest run on one side before the other has said that it does not run it", () => {
    fc.assert(
      fc.property(any, any, (source, destination) => {
        const { act } = settle(source, destination);
        if (act === "resume-source") assert.ok(!mayRun(destination));
        if (act === "forget-source") assert.ok(runs(destination));
        if (act === "discard-destination") assert.ok(!runs(destination));
      }),
    );
  });

  it("never turns one running copy into none, nor into two", () => {
    fc.assert(
      fc.property(any, any, (source, destination) => {
        const before = [source, destination].filter(runs).length;
        const now = after(settle(source, destination).act, source, destination).filter(runs).length;
        assert.ok(now <= Math.max(1, before), "made two");
        assert.ok(now >= Math.min(1, before), "lost the only one");
      }),
    );
  });

  it("comes to an end: no act is called for twice", () => {
    for (const first of sightings) {
      for (const second of sightings) {
        let [source, destination]: [Sighting, Sighting] = [first, second];
        for (let round = 0; round < 4; round += 1) [source, destination] = after(settle(source, destination).act, source, destination);
        assert.doesNotMatch(settle(source, destination).act, /resume|discard|forget/);
      }
    }
  });

  it("waits while a host is silent or the source is still moving it", () => {
    for (const other of sightings) {
      assert.equal(settle({ presence: "unknown", text: "" }, other).act, "wait");
      assert.equal(settle(other, { presence: "unknown", text: "" }).act, "wait");
    }
    assert.equal(settle({ presence: "running", moving: true }, { presence: "incoming" }).act, "wait");
  });

  it("lets the source answer for a silent destination only while it runs the guest, and when the server drove", () => {
    const alone = sightings.filter((source) => settleWithout(source, { peerToPeer: false }));
    assert.deepEqual(alone, [{ presence: "running", moving: false }]);
    for (const source of sightings) assert.equal(settleWithout(source, { peerToPeer: true }), false);
  });

  it("takes what the destination holds for a half only when it cannot have been let run there", () => {
    const halves = sightings.flatMap((source) =>
      sightings.flatMap((destination) => {
        const verdict = settle(source, destination);
        return verdict.act === "off" && verdict.neverArrived ? [{ source, destination }] : [];
      }),
    );
    assert.deepEqual(halves, [{ source: { presence: "inactive", movedAway: false }, destination: { presence: "absent" } }]);
  });

  it("ends nothing on a destination that moves it on, or had it after the source let go: it may be all that there is", () => {
    const movedOn: Sighting = { presence: "paused", by: "migration", moving: true };
    for (const source of sightings) assert.notEqual(settle(source, movedOn).act, "discard-destination");
    const gone: readonly Sighting[] = [{ presence: "absent" }, { presence: "inactive", movedAway: true }];
    for (const source of gone) assert.equal(settle(source, { presence: "paused", by: "migration", moving: false }).act, "wait");
    const half = settle({ presence: "running", moving: false }, { presence: "paused", by: "migration", moving: false });
    assert.equal(half.act, "discard-destination");
  });

  it("touches nothing when both hosts run it", () => {
    assert.equal(settle({ presence: "running", moving: false }, { presence: "running", moving: false }).act, "conflict");
  });
});
