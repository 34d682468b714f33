import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Point } from "@godwit/vault";
import type { DestinationFacts, RecoverInput } from "../../src/index.ts";
import { judgeRecovery, type RecoveryFacts } from "../../src/recovery/preflight.ts";

const point = { disks: ["vda", "vdb"].map((name) => ({ name, size: 4096 })) } as unknown as Point;
const there: DestinationFacts = {
  cpu: { fits: true, missing: [], text: "" },
  machine: { known: true, text: "" },
  nics: [],
  pools: [{ name: "pool", present: true, active: true, path: "/pool", availableBytes: 1 << 30, taken: [] }],
};
const off = {
  state: "off",
  savedMemory: false,
  moved: [],
  sizes: new Map([
    ["vda", 4096],
    ["vdb", 4096],
  ]),
} as const;

/** Ids of the checks that fail. */
function failing(input: Partial<RecoverInput>, present?: RecoveryFacts["present"]): string[] {
  const wanted = { mode: "new", captured: "web", vm: "web", host: "alpha", newIdentity: false, ...input } as RecoverInput;
  return judgeRecovery({ input: wanted, point, there, present })
    .filter(({ verdict }) => verdict === "fail")
    .map(({ id }) => id);
}

describe("before a recovery", () => {
  for (const mode of ["replace", "in-place"] as const) {
    it(`a VM must be off, and not about to go on with memory of other disks (${mode})`, () => {
      assert.deepEqual(failing({ mode }, off), []);
      assert.deepEqual(failing({ mode }, { ...off, state: "running" }), ["vm"]);
      assert.deepEqual(failing({ mode }, { ...off, savedMemory: true }), ["vm"]);
    });
  }

  it("disks that stay must be where the definition looks for them", () => {
    const moved = { ...off, moved: ["vdb"] };
    assert.deepEqual(failing({ mode: "replace", disks: ["vda"] }, moved), ["disks"]);
    assert.deepEqual(failing({ mode: "in-place", disks: ["vda"] }, moved), [], "it keeps the definition that it has");
  });

  it("a new VM beside the captured one must not get that one's disks", () => {
    assert.deepEqual(failing({ newIdentity: true }), []);
    assert.deepEqual(failing({ newIdentity: true, disks: ["vda"] }), ["disks"]);
    assert.deepEqual(failing({ newIdentity: false, disks: ["vda"] }), [], "the captured one is gone, and its other disk is there");
    assert.deepEqual(failing({ mode: "disk", newIdentity: true, disks: ["vda"] }), []);
    assert.deepEqual(failing({ mode: "in-place", disks: ["vda"] }, off), []);
  });
});
