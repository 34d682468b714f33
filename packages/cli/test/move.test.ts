import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MigrationPlan } from "@godwit/api";
import { diskReference, nameMap, planTable, storageFlag } from "../src/commands/move.ts";

describe("what a move is told on the command line", () => {
  it("takes a pool for all disks, and others for single ones", () => {
    assert.deepEqual(storageFlag("fast"), { pool: "fast", byDisk: {} });
    assert.deepEqual(
      ["fast", "vdb=slow", "vdc=slow"].reduce<ReturnType<typeof storageFlag> | undefined>(
        (flag, text) => storageFlag(text, flag),
        undefined,
      ),
      {
        pool: "fast",
        byDisk: { vdb: "slow", vdc: "slow" },
      },
    );
    assert.throws(() => storageFlag("slow", storageFlag("fast")), /one pool for all disks/);
    for (const wrong of ["=fast", "vdb=", "a=b=c"]) assert.throws(() => storageFlag(wrong), /DISK=POOL is needed/);
  });

  it("maps networks by name", () => {
    assert.deepEqual(nameMap("br1=br-b", nameMap("br0=br-a")), { br0: "br-a", br1: "br-b" });
    assert.throws(() => nameMap("br0"), /OLD=NEW is needed/);
  });

  it("finds the disks behind a VM's name", () => {
    assert.deepEqual(diskReference("web"), { vm: "web", disks: [] });
    assert.deepEqual(diskReference("web:vda,vdb"), { vm: "web", disks: ["vda", "vdb"] });
    assert.deepEqual(diskReference("odd:name:vda"), { vm: "odd:name", disks: ["vda"] });
  });

  it("shows a plan with its copies, its forecast and what else could be done", () => {
    const plan: MigrationPlan = {
      vmId: "v",
      vm: "web",
      sourceId: "a",
      source: "alpha",
      destinationId: "b",
      destination: "bravo",
      kind: "shared-nothing",
      copies: [{ target: "vdb", from: "/local/web.raw", pool: "fast" }],
      networks: [],
      checks: [{ id: "cpu", verdict: "pass", text: "fits" }],
      possible: true,
      forecast: {
        totalMs: 9000,
        pauseMs: 2000,
        bytes: 5,
        rounds: 3,
        converges: false,
        bandwidthBytesPerSecond: 1,
        text: "cannot be done within a pause of 300 ms",
        reasons: ["as the last 5 moves"],
        options: [{ option: "raise-pause", pauseMs: 2000, totalMs: 9000, text: "allow a pause of 2.0 s" }],
      },
    };
    const text = planTable(plan);
    assert.match(text, /web: alpha → bravo \(shared-nothing\): possible/);
    assert.match(text, /vdb +\/local\/web.raw +fast/);
    assert.match(
      text,
      /forecast: cannot be done within a pause of 300 ms\n {2}as the last 5 moves\n {2}instead, in .*: allow a pause of 2.0 s/,
    );
  });
});
