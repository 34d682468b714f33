import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Point } from "@godwit/vault";
import { EngineError, Recoveries, type RecoveriesOptions, type VmView } from "../../src/index.ts";

const signal = AbortSignal.timeout(10_000);
const id = "11111111-2222-4333-8444-555555555555";

/** Recoveries of one point of `web`, which is called `now` today, or is gone. */
function recoveriesOf(now: string | undefined): Recoveries {
  const point = { id: "aa", name: "web", machine: { definition: `<domain><uuid>${id}</uuid></domain>`, files: [] } } as unknown as Point;
  const vaults = { list: async () => [{ id: "v", name: "main" }], open: async () => ({ point: async () => point }) };
  const hosts = {
    vm: () => {
      if (now === undefined) throw new EngineError("not-found", "no such VM");
      return { id, name: now, hostId: "h1", host: "alpha" } as VmView;
    },
    host: () => ({ id: "h1", name: "alpha" }),
  };
  return new Recoveries({ captures: { options: { vaults, hosts } } } as unknown as RecoveriesOptions);
}

describe("what a recovery means", () => {
  for (const mode of ["replace", "in-place"] as const) {
    it(`is the VM under the name that it has now (${mode})`, async () => {
      const wish = { point: "aa", mode, storagePool: "pool" };
      const { vm, vmId, captured, newIdentity } = await recoveriesOf("web-2").resolve(wish, { signal });
      assert.deepEqual([vm, vmId, captured, newIdentity], ["web-2", id, "web", false]);
      await assert.rejects(recoveriesOf("web-2").resolve({ ...wish, name: "other" }, { signal }), { kind: "invalid" });
    });
  }

  it("is a VM with the old name and identity where it is gone, and another one where it is not", async () => {
    const wish = { point: "aa", to: "alpha", storagePool: "pool" };
    const gone = await recoveriesOf(undefined).resolve(wish, { signal });
    assert.deepEqual([gone.vm, gone.vmId, gone.newIdentity], ["web", id, false]);
    const beside = await recoveriesOf("web-2").resolve({ ...wish, name: "copy" }, { signal });
    assert.deepEqual([beside.vm, beside.vmId === id, beside.newIdentity], ["copy", false, true]);
  });
});
