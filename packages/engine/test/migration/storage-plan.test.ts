import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { planStorageMove, type StorageFacts } from "../../src/migration/storage-plan.ts";
import type { MovableDisk, SourceFacts } from "../../src/ports/migration.ts";

const disk = (target: string, more: Partial<MovableDisk> = {}): MovableDisk => ({
  target,
  device: "disk",
  type: "file",
  path: `/shared/web-${target}.qcow2`,
  format: "qcow2",
  readOnly: false,
  shareable: false,
  capacityBytes: 2 ** 30,
  backing: [],
  ...more,
});

const vm: SourceFacts = {
  vm: {
    id: "3f0c1d6e-0000-4000-8000-000000000001",
    name: "web",
    state: "running",
    persistent: true,
    autostart: false,
    vcpus: 1,
    memoryBytes: 2 ** 30,
    cpu: { mode: "custom" },
    domainType: "kvm",
    agent: "none",
    disks: [],
    nics: [],
  },
  disks: [disk("vda"), disk("vdb"), disk("sda", { device: "cdrom", readOnly: true })],
  nics: [],
  ties: [],
  files: [],
  snapshots: [],
  keptByHost: [],
  savedMemory: false,
  definition: undefined,
};
const facts: StorageFacts = {
  vm,
  host: "alpha",
  pool: "fast",
  room: { name: "fast", active: true, path: "/fast", availableBytes: 2 ** 40 },
};
const plan = (wrong: Partial<StorageFacts>, taken: readonly string[] = []) =>
  planStorageMove({ ...facts, ...wrong }, (name) => taken.includes(name));
const failed = (...args: Parameters<typeof plan>): string =>
  plan(...args)
    .checks.filter(({ verdict }) => verdict === "fail")
    .map((check) => `${check.id}: ${check.text} → ${check.remedy ?? ""}`)
    .join("\n");

describe("the plan of a move of disks", () => {
  it("takes every disk that can be moved, and each keeps its format and name", () => {
    const { copies } = plan({});
    assert.equal(failed({}), "");
    assert.deepEqual(
      copies.map(({ target, to, format }) => [target, to, format]),
      [
        ["vda", "/fast/web-vda.qcow2", "qcow2"],
        ["vdb", "/fast/web-vdb.qcow2", "qcow2"],
      ],
    );
  });

  it("leaves a disk where it is that other VMs write as well, and says so when it was named", () => {
    const cluster = { ...vm, disks: [disk("vda"), disk("vdb", { shareable: true })] };
    assert.deepEqual(
      plan({ vm: cluster }).copies.map(({ target }) => target),
      ["vda"],
    );
    assert.match(failed({ vm: cluster, disks: ["vdb"] }), /disk vdb of web is shared with other VMs, .*name one of vda/);
  });

  it("names a converted image after its format", () => {
    assert.deepEqual(
      plan({ disks: ["vda"], format: "raw" }).copies.map(({ name, format }) => [name, format]),
      [["web-vda.raw", "raw"]],
    );
  });

  it("leaves out disks that are there already, unless they were asked for", () => {
    const there = { ...vm, disks: [disk("vda", { path: "/fast/web-vda.qcow2" }), disk("vdb")] };
    assert.deepEqual(
      plan({ vm: there }).copies.map(({ target }) => target),
      ["vdb"],
    );
    assert.match(failed({ vm: there, disks: ["vda"] }), /disk vda is \/fast\/web-vda.qcow2 already/);
  });

  it("says that a chain becomes one image", () => {
    const chained = { ...vm, disks: [disk("vda", { backing: ["/base.qcow2"] })] };
    assert.match(
      plan({ vm: chained })
        .checks.map(({ text }) => text)
        .join("\n"),
      /disk vda becomes one image/,
    );
  });

  it("refuses for each reason, with the way out", () => {
    const cases: readonly [Parameters<typeof plan>, RegExp][] = [
      [[{ disks: ["vdz"] }], /disk: web has no disk vdz .*name one of vda, vdb/],
      [[{ vm: { ...vm, vm: { ...vm.vm, state: "paused" } } }], /state: web is paused/],
      [[{ vm: { ...vm, job: "backup" } }], /job: a backup of web is under way/],
      [[{ vm: { ...vm, disks: [disk("vda", { blockJob: "copy" })] } }], /job: a block job/],
      [[{ vm: { ...vm, snapshots: [{ name: "s", memory: "in-disk", externalDisks: false }] } }], /snapshots: web has 1 snapshots/],
      [[{ vm: { ...vm, savedMemory: true } }], /memory-state: the memory of web was saved/],
      [[{ room: undefined }], /storage-pool: alpha has no storage pool 'fast'/],
      [[{ room: { name: "fast", active: false, availableBytes: 0 } }], /storage-pool: .*not an active one of files/],
      [[{ room: { name: "fast", active: true, path: "/fast", availableBytes: 2 ** 30 } }], /storage-pool: the copies may grow to 2.0 GiB/],
      [[{}, ["web-vdb.qcow2"]], /storage-pool: 'fast' already has a file web-vdb.qcow2/],
      [[{ vm: { ...vm, disks: [disk("vda", { format: "vmdk" })] } }], /disk vda is vmdk, which cannot be written → say --format qcow2/],
    ];
    for (const [args, expected] of cases) assert.match(failed(...args), expected);
  });
});
