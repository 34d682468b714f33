import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HostView, NetworkView, PoolView, VmView } from "../../src/index.ts";
import type { ValidationFacts, ValidationTest } from "../../src/validate/model.ts";
import { judgeCluster } from "../../src/validate/validate.ts";

const reason = { code: "test", text: "as the test says" };

function host(name: string, libvirt = "9.0.0"): HostView {
  const facts = {
    cpu: { arch: "x86_64", model: "Skylake", features: [], count: 4 },
    memoryBytes: 8 * 2 ** 30,
    versions: { libvirt, hypervisor: "QEMU 7.2.0" },
    capabilities: { machines: [], domainTypes: ["kvm"], migrationTransports: ["tcp"], live: true },
    acceleration: { kind: "kvm", evidence: "probed", text: "a guest ran" },
  } as unknown as HostView["facts"];
  return { id: name, name, uri: "", state: "up", stateSince: "", reason, facts, vms: { total: 0, running: 0 } };
}

function network(name: string, change: Partial<NetworkView> = {}, mtu = 1500): NetworkView {
  const row = (on: string, last: number): NetworkView["interfaces"][number] => ({
    networkId: name,
    network: name,
    hostId: on,
    host: on,
    interface: "eth0",
    addresses: [`10.0.${name.length}.${last}/24`],
    mtu,
    linkUp: true,
    state: "up",
    reason,
  });
  return {
    id: name,
    name,
    description: "",
    subnets: ["10.0.0.0/24"],
    role: "cluster",
    metric: 1,
    autoMetric: true,
    metricReason: reason,
    state: "up",
    stateReason: reason,
    interfaces: [row("alpha", 1), row("bravo", 2)],
    ...change,
  };
}

const pool = (on: string, free: number): PoolView => ({
  hostId: on,
  host: on,
  name: "vms",
  uuid: "p",
  type: "dir",
  active: true,
  capacityBytes: 100,
  allocatedBytes: 100 - free,
  availableBytes: free,
});
const chain = ["lan", "migration"].map((name, index) => ({
  networkId: name,
  network: name,
  rank: index + 1,
  verdict: "fallback" as const,
  reason,
}));
const settings = { useAnyNetwork: true, maximumLiveMigrations: 2, maximumStorageMigrations: 2, networks: [] };

function sound(): ValidationFacts {
  const hosts = [host("alpha"), host("bravo")];
  return {
    hosts,
    findings: hosts.map((one) => ({
      host: one,
      shell: { skewMs: 0, uncertaintyMs: 1, hostname: one.name, resolvesTo: ["10.0.0.1"], tools: ["ip", "ping"] },
      ports: [],
    })),
    vms: [{ id: "v1", name: "web", host: "alpha" } as VmView],
    pools: [pool("alpha", 50), pool("bravo", 50)],
    networks: [network("lan"), network("storage")],
    paths: [{ source: "alpha", destination: "bravo", verdicts: chain }],
    live: { order: [], exclude: [] },
    settings: [
      { host: "alpha", settings },
      { host: "bravo", settings },
    ],
    cpu: { model: "Skylake", features: [], document: "<cpu/>", hosts: [], vms: [], text: "Skylake is common" },
  };
}

const found = (tests: readonly ValidationTest[], name: string): string => {
  const test = tests.find((one) => one.name === name)!;
  return `${test.verdict}: ${test.checks.map(({ id, text }) => `${id} ${text}`).join("; ")}`;
};
const judged = (change: Partial<ValidationFacts>, name: string): string => found(judgeCluster({ ...sound(), ...change }), name);

describe("a cluster's validation", () => {
  it("passes a sound cluster, and says what was not tried", () => {
    const tests = judgeCluster(sound());
    assert.deepEqual(
      tests.filter(({ verdict }) => verdict !== "pass").map(({ name, verdict }) => [name, verdict]),
      [
        ["Migration Ports", "not-applicable"],
        ["Migration Really Tried", "not-applicable"],
      ],
    );
    for (const { checks } of tests) for (const { verdict, remedy } of checks) assert.equal(remedy === undefined, verdict === "pass");
  });

  it("finds hosts that differ, and VMs that are there twice", () => {
    assert.match(
      judged({ hosts: [host("alpha"), host("bravo", "10.0.0")] }, "libvirt Versions"),
      /^warn: .*9\.0\.0 on alpha; 10\.0\.0 on bravo/,
    );
    const twice = [
      { id: "v1", name: "web", host: "alpha" },
      { id: "v1", name: "web", host: "bravo" },
    ] as VmView[];
    assert.match(judged({ vms: twice }, "List VMs"), /^fail: .*web is on alpha and bravo/);
  });

  it("finds networks that are down, alone, of different MTU, or with an address twice", () => {
    assert.match(judged({ networks: [network("lan", { state: "down" })] }, "Cluster Networks"), /^fail/);
    assert.match(judged({ networks: [network("lan")] }, "Redundancy"), /^warn: .*only lan/);
    const [alpha, bravo] = network("lan").interfaces;
    assert.match(
      judged({ networks: [network("lan", { interfaces: [alpha!, { ...bravo!, mtu: 9000 }] })] }, "Same MTU"),
      /^warn: .*1500 on alpha; 9000 on bravo/,
    );
    assert.match(
      judged({ networks: [network("lan", { interfaces: [alpha!, { ...bravo!, addresses: alpha!.addresses }] })] }, "Duplicate Addresses"),
      /^fail: .*alpha eth0 and bravo eth0/,
    );
  });

  it("has what was really tried, when that was asked for", () => {
    const trials = [{ id: "alpha → bravo", verdict: "fail", text: "it did not arrive within 60 s", remedy: "see: godwit doctor" }] as const;
    assert.match(judged({ trials }, "Migration Really Tried"), /^fail: alpha → bravo/);
  });

  it("finds storage that is full or not everywhere, and pairs that nothing connects", () => {
    assert.match(judged({ pools: [pool("alpha", 5), pool("bravo", 50)] }, "Pools"), /^warn: .*5 % of/);
    assert.match(judged({ pools: [pool("alpha", 50)] }, "Same Pools Everywhere"), /^warn: .*not on bravo/);
    assert.match(
      judged({ paths: [{ source: "alpha", destination: "bravo", verdicts: [] }] }, "A Network Between Every Pair"),
      /^fail: alpha → bravo/,
    );
    assert.match(judged({ settings: [{ host: "alpha", settings: { ...settings, maximumLiveMigrations: 0 } }] }, "Limits"), /^fail/);
  });
});
