import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MigrationPlan, MigrationResult } from "@godwit/api";
import { diskReference, nameMap, planTable, storageFlag } from "../src/commands/move.ts";
import { migrationTable } from "../src/jobs.ts";

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
      transport: { tls: false, zeroCopy: false, reasons: [{ code: "streams", text: "one stream fills a link of 1000 Mbit/s" }] },
    };
    const text = planTable(plan);
    assert.match(text, /web: alpha → bravo \(shared-nothing\): possible/);
    assert.match(text, /transport:\n {2}one stream fills a link of 1000 Mbit\/s\n/);
    assert.match(text, /vdb +\/local\/web.raw +fast/);
    assert.match(
      text,
      /forecast: cannot be done within a pause of 300 ms\n {2}as the last 5 moves\n {2}instead, in .*: allow a pause of 2.0 s/,
    );
  });

  it("shows how memory went, and by how much the guest was slowed for the promise", () => {
    const result: MigrationResult = {
      vmId: "v",
      vm: "web",
      source: "alpha",
      destination: "bravo",
      kind: "live",
      driver: "server",
      attempts: [],
      startedAt: "",
      endedAt: "",
      totalMs: 1000,
      memoryBytes: 1,
      diskBytes: 0,
      interfaces: [],
      proof: "proven",
      transport: { parallelConnections: 3, tls: true, zeroCopy: false },
      contract: { maximumPauseMs: 300, policy: "auto-converge", held: true, throttlePercent: 60 },
    };
    const text = migrationTable(result);
    assert.match(text, /sent: +by 3 streams, not compressed, encrypted\n/);
    assert.match(text, /promised: +at most 300 ms \(auto-converge\), held, the guest slowed by up to 60 %\n/);
  });
});
