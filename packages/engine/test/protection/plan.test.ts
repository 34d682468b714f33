import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Point } from "@godwit/vault";
import { type BackupDisk, type BackupFacts, judgeConsistency, planCapture, type PlanInput } from "../../src/index.ts";
import { readsMuch } from "../../src/protection/plan.ts";

const facts = (...disks: BackupDisk[]): BackupFacts => ({
  vmId: "v1",
  name: "web",
  state: "running",
  disks,
  leftOut: [],
  agent: "connected",
  checkpoints: [],
});
const vda: BackupDisk = { target: "vda", capacityBytes: 100, format: "qcow2" };
const base = { id: "p1", time: "2026-01-01T00:00:00.000Z", disks: [{ name: "vda", size: 100 }] } as unknown as Point;

const golden: readonly (readonly [string, PlanInput, string, string])[] = [
  ["first", { facts: facts(vda) }, "full", "vda: read in full, the vault has no point of this VM yet"],
  [
    "tracked",
    { facts: facts(vda), base, checkpoint: "c1" },
    "incremental",
    "vda: only what changed since 2026-01-01T00:00:00.000Z is read",
  ],
  ["new disk", { facts: facts({ ...vda, target: "vdb" }), base, checkpoint: "c1" }, "full", "vdb: read in full, the disk is new"],
  [
    "resized",
    { facts: facts({ ...vda, capacityBytes: 200 }), base, checkpoint: "c1" },
    "compared",
    "vda: read and compared, its size changed from 100 to 200 bytes",
  ],
  [
    "raw",
    { facts: facts({ ...vda, untracked: "vda is raw" }), base, checkpoint: "c1" },
    "compared",
    "vda: read and compared with the last point: vda is raw",
  ],
  [
    "in another one's place",
    { facts: facts({ ...vda, path: "/b" }), base, checkpoint: "c1", images: { vda: "/a", vdb: "/b" } },
    "compared",
    "vda: read and compared, its image was vdb at the last point",
  ],
  [
    "moved to another pool",
    { facts: facts({ ...vda, path: "/c" }), base, checkpoint: "c1", images: { vda: "/a", vdb: "/b" } },
    "incremental",
    "vda: only what changed since 2026-01-01T00:00:00.000Z is read",
  ],
  [
    "crashed",
    { facts: facts(vda), base, lost: "its host crashed" },
    "compared",
    "vda: read and compared with the last point: its host crashed",
  ],
];

describe("the plan of a capture", () => {
  it("knows whether much will be read: what whole disks take on their storage, or what changed the last time", () => {
    const disk = { ...vda, capacityBytes: 1 << 30 };
    const much = (input: PlanInput): boolean => readsMuch(input, planCapture(input));
    assert.equal(much({ facts: facts(disk) }), true);
    assert.equal(much({ facts: facts({ ...disk, allocatedBytes: 1 << 20 }) }), false);
    const tracked = { ...base, disks: [{ name: "vda", size: 1 << 30 }] } as unknown as Point;
    const after = (readBytes: number): Point => ({ ...tracked, parent: "p0", figures: { readBytes } });
    assert.equal(much({ facts: facts(disk), base: after(1 << 20), checkpoint: "c1" }), false);
    assert.equal(much({ facts: facts(disk), base: after(1 << 28), checkpoint: "c1" }), true);
    assert.equal(much({ facts: facts(disk), base: after(1 << 20), checkpoint: "c1", check: true }), true);
  });

  for (const [name, input, mode, text] of golden) {
    it(`says how and why: ${name}`, () => {
      const [disk] = planCapture(input).disks;
      assert.deepEqual([disk?.mode, disk?.reason.text], [mode, text]);
    });
  }

  it("names the checkpoint only when a disk is read by it", () => {
    assert.equal(planCapture({ facts: facts({ ...vda, untracked: "raw" }), base, checkpoint: "c1" }).checkpoint, undefined);
    assert.equal(planCapture({ facts: facts(vda), base, checkpoint: "c1" }).checkpoint, "c1");
  });
});

describe("the consistency of a point", () => {
  const freeze = { frozenMs: 5, fileSystems: 1, text: "as the test says" } as const;
  const running = { state: "running", agent: "connected" } as const;

  it("is what was measured, never what was hoped", () => {
    assert.equal(judgeConsistency(running, { ...freeze, outcome: "held" }).level, "filesystem");
    assert.equal(judgeConsistency(running, { ...freeze, outcome: "broken" }).level, "crash");
    assert.equal(judgeConsistency(running, { ...freeze, outcome: "refused" }).level, "crash");
    assert.deepEqual(judgeConsistency({ ...running, agent: "none" }, { ...freeze, outcome: "not-asked" }), {
      level: "crash",
      evidence: ["the VM has no guest agent"],
    });
  });
});
