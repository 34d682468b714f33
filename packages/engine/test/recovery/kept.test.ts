import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { systemClock } from "@godwit/core";
import { type BackupFacts, type ConfirmInput, KeptAside, type KeptImages, type Recoveries, type VmView } from "../../src/index.ts";

const signal = AbortSignal.timeout(10_000);
const record: KeptImages = {
  id: "j1",
  vmId: "v1",
  vm: "web",
  hostId: "h1",
  host: "alpha",
  paths: ["/pool/old"],
  since: "2026-11-27T10:00:00Z",
  until: "boots",
};

/** What is asked for when a VM is looked at that is as given. */
async function asked(change: { kept?: Partial<KeptImages>; facts?: Partial<BackupFacts>; vm?: Partial<VmView> }): Promise<ConfirmInput[]> {
  const submitted: ConfirmInput[] = [];
  const facts = { state: "running", agent: "connected", disks: [{ target: "vda", capacityBytes: 1, path: "/pool/new" }], ...change.facts };
  const backup = { facts: async () => facts };
  const aside = new KeptAside({
    kept: {
      get: async () => undefined,
      list: async () => [{ ...record, ...change.kept }],
      put: async () => undefined,
      delete: async () => undefined,
    },
    recoveries: { options: { captures: { backup: () => backup } } } as unknown as Recoveries,
    vms: () => [{ id: "v1", name: "web", hostId: "h1", state: "running", disks: [], ...change.vm } as unknown as VmView],
    submit: async (input) => submitted.push(input),
    clock: systemClock,
    log: { warn: () => assert.fail() },
  });
  await aside.look(signal);
  return submitted;
}

describe("old images that were kept aside", () => {
  it("go once the VM runs on its new ones and its agent answers", async () => {
    const [input, ...more] = await asked({});
    assert.deepEqual([input?.vm, input?.kept, more.length], ["web", ["j1"], 0]);
  });

  it("stay while that is not proven, and always when an admin wants to confirm", async () => {
    assert.deepEqual(await asked({ vm: { state: "off" } }), []);
    assert.deepEqual(await asked({ vm: { id: "v2" } }), [], "nobody sees the VM");
    assert.deepEqual(await asked({ facts: { agent: "disconnected" } }), []);
    assert.deepEqual(
      await asked({ facts: { disks: [{ target: "vda", capacityBytes: 1, path: "/pool/old" }] } }),
      [],
      "it runs on the old ones",
    );
    assert.deepEqual(await asked({ kept: { until: "confirmed" } }), []);
  });
});
