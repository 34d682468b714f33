import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cpuBaseline } from "../../src/validate/baseline.ts";
import type { CpuDescription } from "../../src/ports/cpu.ts";

const cpu = (...features: string[]): CpuDescription => ({ model: "Skylake", vendor: "Intel", features, document: "<cpu/>" });
const hosts = [
  { hostId: "h1", host: "alpha", cpu: cpu("avx", "avx2", "avx512f") },
  { hostId: "h2", host: "bravo", cpu: cpu("avx", "avx2") },
];

describe("a cluster's CPU baseline", () => {
  it("shows what each host has beyond it, and the VMs that stop a narrowing", () => {
    const vms = [
      { vmId: "1", vm: "as-host", hostId: "h1", given: "host" as const },
      { vmId: "2", vm: "least", hostId: "h1", given: "default" as const },
      { vmId: "3", vm: "wide", hostId: "h1", given: ["avx", "avx512f"] },
      { vmId: "4", vm: "narrow", hostId: "h1", given: ["avx"] },
      { vmId: "5", vm: "lucky", hostId: "h2", given: "host" as const },
    ];
    const found = cpuBaseline({ hosts, common: cpu("avx", "avx2"), vms });
    assert.deepEqual(
      found.hosts.map(({ host, beyond }) => [host, beyond]),
      [
        ["alpha", ["avx512f"]],
        ["bravo", []],
      ],
    );
    assert.deepEqual(
      found.vms.map(({ vm, beyond }) => [vm, beyond]),
      [
        ["as-host", ["avx512f"]],
        ["wide", ["avx512f"]],
      ],
    );
    assert.match(found.text, /Skylake with 2 features is common to all hosts; 2 running VMs have more/);
  });

  it("says why there is none, and which host could not be asked", () => {
    const lost = { hostId: "h3", host: "charlie", cpu: new Error("it does not answer") };
    const found = cpuBaseline({ hosts: [...hosts, lost], common: new Error("CPU vendors do not match"), vms: [] });
    assert.equal(found.document, undefined);
    assert.match(found.text, /no CPU model in common: CPU vendors do not match/);
    assert.equal(found.hosts[2]?.problem, "it does not answer");
    const without = cpuBaseline({ hosts: [...hosts, lost], common: cpu("avx", "avx2"), vms: [] });
    assert.match(without.text, /is common to the hosts that could be asked \(not charlie\)/);
  });
});
