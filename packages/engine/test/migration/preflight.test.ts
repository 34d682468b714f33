import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compareVersions, preflight, type PreflightFacts, type Sharing } from "../../src/migration/preflight.ts";
import { wishedCopies } from "../../src/migration/preflight-storage.ts";
import { interfaceProofs, proofSentence } from "../../src/migration/proof.ts";
import { peerUri } from "../../src/migration/peer.ts";
import type { HostView, NetworkView } from "../../src/index.ts";
import type { DestinationFacts, SourceFacts } from "../../src/ports/migration.ts";

const host = (name: string): HostView => ({
  id: name,
  name,
  uri: `qemu+ssh://root@${name}/system`,
  state: "up",
  stateSince: "2026-01-01T00:00:00Z",
  reason: { code: "connected", text: "connected" },
  vms: { total: 1, running: 1 },
});

const vm: SourceFacts = {
  vm: {
    id: "3f0c1d6e-0000-4000-8000-000000000001",
    name: "web",
    state: "running",
    persistent: true,
    autostart: false,
    vcpus: 2,
    memoryBytes: 2 ** 30,
    cpu: { mode: "custom", model: "qemu64" },
    domainType: "kvm",
    agent: "connected",
    disks: [],
    nics: [],
  },
  disks: [
    {
      target: "vda",
      device: "disk",
      type: "file",
      path: "/shared/web.qcow2",
      format: "qcow2",
      readOnly: false,
      shareable: false,
      capacityBytes: 10 * 2 ** 30,
      backing: [],
    },
  ],
  nics: [{ mac: "52:54:00:00:00:01", type: "bridge", source: "br-guests" }],
  ties: [],
  files: [],
  snapshots: [],
  keptByHost: [],
  savedMemory: false,
  definition: undefined,
};

const there: DestinationFacts = {
  cpu: { fits: true, missing: [], text: "it can give the guest its CPU model qemu64" },
  machine: { known: true, text: "it has the machine type" },
  freeMemoryBytes: 4 * 2 ** 30,
  nics: [{ type: "bridge", source: "br-guests", present: true }],
  pools: [],
};

const facts: PreflightFacts = {
  source: host("alpha"),
  destination: host("bravo"),
  vm,
  there,
  sharing: new Map<string, Sharing>([["/shared/web.qcow2", "shared"]]),
  networks: [
    {
      networkId: "n",
      network: "migration",
      rank: 1,
      verdict: "chosen",
      reason: { code: "order", text: "first" },
      destinationAddress: "10.0.2.2",
    },
  ],
  kind: "live",
  copies: [],
};

const copies = { storagePool: "local", copies: [{ target: "vda", pool: "local" }] };
const pool = { name: "local", present: true, active: true, path: "/local", availableBytes: 2 ** 40, taken: [] };
const snapshot = { name: "s", memory: "none", externalDisks: false } as const;
const failed = (wrong: Partial<PreflightFacts>): string[] =>
  preflight({ ...facts, ...wrong })
    .filter((check) => check.verdict === "fail")
    .map((check) => `${check.id}: ${check.text} → ${check.remedy ?? ""}`);

describe("the preflight of a migration", () => {
  it("passes a VM that may move", () => {
    assert.deepEqual(
      preflight(facts)
        .map((check) => check.verdict)
        .filter((verdict) => verdict !== "pass"),
      [],
    );
  });

  it("lets firmware variables that are not shared go along, unless another VM there uses the file", () => {
    const [nvram, disk] = ["/nvram/web_VARS.fd", ["/shared/web.qcow2", "shared"] as const];
    const efi = { vm: { ...vm, files: [nvram] } };
    for (const elsewhere of ["missing", "not-shared"] as const) {
      const checks = preflight({ ...facts, ...efi, sharing: new Map<string, Sharing>([disk, [nvram, elsewhere]]) });
      assert.match(checks.find(({ id }) => id === "firmware")?.text ?? "", /web_VARS\.fd\) are copied along/);
      assert.ok(checks.every(({ verdict }) => verdict === "pass"));
    }
    const taken = { ...efi, there: { ...there, filesOfOthers: { [nvram]: "mail" } } };
    assert.match(
      failed({ ...taken, sharing: new Map<string, Sharing>([disk, [nvram, "not-shared"]]) }).join(),
      /firmware: .* is what mail uses on bravo/,
    );
    assert.deepEqual(failed({ ...efi, sharing: new Map<string, Sharing>([disk, [nvram, "shared"]]) }), []);
  });

  it("says of a VM that is off which way its files go", () => {
    const off = { ...copies, kind: "cold", vm: { ...vm, vm: { ...vm.vm, state: "off" } }, there: { ...there, pools: [pool] } } as const;
    const way = (wrong: Partial<PreflightFacts>): string =>
      preflight({ ...facts, ...off, ...wrong })
        .filter(({ id }) => id === "migration-network")
        .map(({ verdict, text }) => `${verdict}: ${text}`)
        .join();
    assert.match(way({}), /^pass: over migration to 10\.0\.2\.2/);
    assert.match(way({ networks: [] }), /^warn: no network may carry it to bravo: its files go through the server/);
    assert.match(way({ copies: [] }), /^pass: nothing goes from host to host/);
  });

  it("refuses for each reason, with the way out", () => {
    const cases: readonly [Partial<PreflightFacts>, RegExp][] = [
      [{ vm: { ...vm, vm: { ...vm.vm, state: "off" } } }, /state: web is off.*start it first/],
      [{ vm: { ...vm, vm: { ...vm.vm, state: "paused" } } }, /state: web is paused/],
      [{ there: { ...there, sameUuid: { name: "web", active: true } } }, /identity: bravo already runs 'web' with the same UUID/],
      [{ there: { ...there, sameUuid: { name: "other", active: false } } }, /identity: bravo defines 'other' with the same UUID/],
      [{ there: { ...there, sameName: "x" } }, /identity: bravo has another VM named 'web'/],
      [{ there: { ...there, cpu: { fits: false, missing: ["avx2", "bmi1"], text: "incompatible" } } }, /cpu: .*avx2, bmi1 missing/],
      [{ there: { ...there, machine: { known: false, text: "no pc-q35-9.0" } } }, /machine: no pc-q35-9.0/],
      [{ there: { ...there, freeMemoryBytes: 2 ** 29 } }, /memory: web needs 1.0 GiB, bravo has 0.5 GiB free/],
      [
        { there: { ...there, nics: [{ type: "bridge", source: "br-guests", present: false }] } },
        /guest-network: bravo has no active bridge 'br-guests'/,
      ],
      [{ vm: { ...vm, ties: ["host device pci 0000:01:00.0"] } }, /devices: .*0000:01:00.0/],
      [{ vm: { ...vm, job: "backup" } }, /job: a backup of web is under way/],
      [{ vm: { ...vm, disks: [{ ...vm.disks[0]!, blockJob: "copy" }] } }, /job: a block job \(copy\) runs on disk vda/],
      [{ vm: { ...vm, snapshots: [snapshot, snapshot] } }, /snapshots: web has 2 snapshots/],
      [{ sharing: new Map([["/shared/web.qcow2", "missing"]]) }, /storage: bravo has no \/shared\/web.qcow2.*--storage POOL/],
      [{ sharing: new Map([["/shared/web.qcow2", "not-shared"]]) }, /storage: .*another file/],
      [{ networks: [] }, /migration-network: no network may carry it/],
      [{ destination: host("alpha") }, /destination: web is on alpha already/],
      [{ ...copies }, /storage-pool: bravo has no storage pool 'local'/],
      [{ ...copies, there: { ...there, pools: [{ ...pool, availableBytes: 2 ** 30 }] } }, /storage-pool: the copies may grow to 10.0 GiB/],
      [{ ...copies, there: { ...there, pools: [{ ...pool, taken: ["web.qcow2"] }] } }, /storage-pool: .*already has a file web.qcow2/],
    ];
    for (const [wrong, expected] of cases) assert.match(failed(wrong).join("\n"), expected);
  });

  it("names every failed check at once", () => {
    assert.equal(failed({ networks: [], vm: { ...vm, job: "backup", ties: ["host folder 'x'"] } }).length, 3);
  });

  it("gets past a capture of Godwit's own, which parks or is waited for, but past no other operation", () => {
    const capture = { id: "c1", title: "capture web", when: "at-once" as const };
    const job = (more: Partial<PreflightFacts>): string => {
      const check = preflight({ ...facts, vm: { ...vm, job: "backup" }, ...more }).find(({ id }) => id === "job");
      return `${check?.verdict}: ${check?.text}`;
    };
    assert.match(job({}), /^fail: a backup of web is under way/);
    assert.equal(job({ yields: capture }), "pass: job c1 (capture web) is parked for it, and goes on at the destination");
    assert.equal(job({ yields: { ...capture, when: "at-its-end" } }), "warn: it waits until job c1 (capture web) has ended");
    assert.match(job({ yields: capture, vm: { ...vm, job: "snapshot" } }), /^fail/);
  });

  it("does not ask for shared disks when they are copied", () => {
    assert.deepEqual(failed({ ...copies, sharing: new Map(), there: { ...there, pools: [pool] } }), []);
  });

  it("only warns where nothing can be proven", () => {
    const verdicts = preflight({ ...facts, sharing: new Map() }).filter((check) => check.verdict !== "pass");
    assert.deepEqual(
      verdicts.map((check) => [check.id, check.verdict]),
      [["storage", "warn"]],
    );
  });
});

describe("the preflight of a VM that stands still", () => {
  const off = { ...vm, vm: { ...vm.vm, state: "off" as const } };
  const cold = { kind: "cold" as const, vm: off };

  it("moves a VM that is off without asking for memory, CPU or a network", () => {
    const poor = { ...there, freeMemoryBytes: 0, cpu: { fits: false, missing: ["avx2"], text: "incompatible" } };
    assert.deepEqual(failed({ ...cold, networks: [], there: poor }), []);
  });

  it("refuses what would be lost or left behind, with the way out", () => {
    const cases: readonly [Partial<PreflightFacts>, RegExp][] = [
      [{ kind: "cold" }, /state: web is running, not off → shut it down first/],
      [{ kind: "quick", vm: off }, /state: web is off, not running → .*--kind cold/],
      [{ kind: "quick", vm: { ...vm, vm: { ...vm.vm, persistent: false } } }, /definition: web has no definition.*--kind live/],
      [{ ...cold, vm: { ...off, keptByHost: ["its TPM"] } }, /kept-state: the state of its TPM is kept on alpha.*--kind live/],
      [{ ...cold, vm: { ...off, savedMemory: true } }, /memory-state: the memory of web was saved on alpha, and would be lost/],
      [{ ...cold, there: { ...there, sameUuid: { name: "web", active: false } } }, /identity: bravo has a definition of web already/],
      [{ ...cold, vm: { ...off, snapshots: [{ ...snapshot, memory: "file" }] } }, /snapshots: .*'s' keeps its memory in files of its own/],
      [{ ...cold, vm: { ...off, snapshots: [{ ...snapshot, externalDisks: true }] } }, /snapshots: .*'s' keeps disks in files/],
      [{ ...cold, sharing: new Map() }, /storage: whether .* could not be proven/],
    ];
    for (const [wrong, expected] of cases) assert.match(failed(wrong).join("\n"), expected);
  });

  it("carries snapshots that are inside of the disks, with or without memory", () => {
    assert.deepEqual(failed({ ...cold, vm: { ...off, snapshots: [snapshot, { ...snapshot, memory: "in-disk" }] } }), []);
  });

  it("wants what is below a copied disk to be shared, which a live copy would swallow", () => {
    const disks = [{ ...vm.disks[0]!, backing: ["/shared/base.qcow2"] }];
    const chained = { ...copies, there: { ...there, pools: [pool] }, sharing: new Map() };
    assert.deepEqual(failed({ ...chained, vm: { ...vm, disks } }), []);
    const missing = new Map<string, Sharing>([["/shared/base.qcow2", "missing"]]);
    assert.match(failed({ ...chained, ...cold, vm: { ...off, disks }, sharing: missing }).join(), /move-storage/);
  });

  it("copies the named disks, and all others only when a pool for all is named", () => {
    const two = [vm.disks[0]!, { ...vm.disks[0]!, target: "vdb" }, { ...vm.disks[0]!, target: "sda", device: "cdrom" as const }];
    assert.deepEqual(wishedCopies(two, {}), []);
    assert.deepEqual(wishedCopies(two, { storageByDisk: { vdb: "x" } }), [{ target: "vdb", pool: "x" }]);
    assert.deepEqual(wishedCopies(two, { storagePool: "y", storageByDisk: { vdb: "x" } }), [
      { target: "vda", pool: "y" },
      { target: "vdb", pool: "x" },
    ]);
    assert.match(failed({ storageByDisk: { sda: "x" } }).join(), /storage: web has no disk sda in a file that could be copied/);
    const cluster = [vm.disks[0]!, { ...vm.disks[0]!, target: "vdb", shareable: true }];
    assert.deepEqual(
      wishedCopies(cluster, { storagePool: "y" }),
      [{ target: "vda", pool: "y" }],
      "other VMs would go on with the original",
    );
    assert.match(failed({ vm: { ...vm, disks: cluster }, storageByDisk: { vdb: "x" } }).join(), /storage: disk vdb of web is shared with/);
  });
});

describe("the proof of a migration", () => {
  const network = (name: string, ...interfaces: readonly [string, string][]): NetworkView => ({
    id: name,
    name,
    description: "",
    subnets: [],
    role: "cluster",
    metric: 1,
    autoMetric: true,
    metricReason: { code: "", text: "" },
    state: "up",
    stateReason: { code: "", text: "" },
    interfaces: interfaces.map(([hostId, interfaceName]) => ({
      networkId: name,
      network: name,
      hostId,
      host: hostId,
      interface: interfaceName,
      addresses: [],
      mtu: 1500,
      linkUp: true,
      state: "up",
      reason: { code: "", text: "" },
    })),
  });
  const networks = [network("management", ["alpha", "m0"], ["bravo", "m0"]), network("migration", ["alpha", "m1"], ["bravo", "m1"])];
  const reading = (...counts: readonly [string, number, number][]) => ({
    at: 0,
    interfaces: counts.map(([name, receivedBytes, sentBytes]) => ({ name, receivedBytes, sentBytes })),
  });
  const hosts = [
    {
      hostId: "alpha",
      host: "alpha",
      before: reading(["m0", 5, 5], ["m1", 100, 100]),
      after: reading(["m0", 9, 9], ["m1", 200, 10_000_100], ["lo", 9, 9]),
    },
    { hostId: "bravo", host: "bravo", before: reading(["m1", 1, 1]), after: reading(["m1", 10_000_001, 101]) },
  ];
  const proofs = interfaceProofs(hosts, networks);

  it("counts what each interface of a cluster network carried, most first", () => {
    assert.deepEqual(
      proofs.map((proof) => [proof.host, proof.interface, proof.receivedBytes, proof.sentBytes]),
      [
        ["alpha", "m1", 100, 10_000_000],
        ["bravo", "m1", 10_000_000, 100],
        ["alpha", "m0", 4, 4],
      ],
    );
  });

  it("says that the chosen network carried the stream, or that it did not", () => {
    const move = { sourceId: "alpha", destinationId: "bravo", networkId: "migration", movedBytes: 9_900_000 };
    assert.match(proofSentence(proofs, move), /^alpha m1 sent 9.5 MiB and bravo m1 received 9.5 MiB over migration/);
    assert.match(proofSentence(proofs, { ...move, movedBytes: 50_000_000 }), /^NOT proven/);
    assert.match(proofSentence([], move), /^not proven/);
  });
});

describe("small things", () => {
  it("compares versions by number", () => {
    assert.ok(compareVersions("9.10.0", "9.9.1") > 0);
    assert.equal(compareVersions("9.0", "9.0.0"), 0);
  });

  it("derives how one host reaches the other", () => {
    assert.equal(peerUri("qemu+ssh://root@10.0.0.2:22/system?keyfile=/x", "b"), "qemu+tls://10.0.0.2/system");
    assert.equal(peerUri("qemu+ssh://root@[fd00::2]/system", "b"), "qemu+tls://[fd00::2]/system");
    assert.throws(() => peerUri("qemu:///system", "b"), { kind: "invalid" });
  });
});
