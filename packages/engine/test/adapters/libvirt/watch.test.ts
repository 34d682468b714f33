import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DomainJobType, ErrorCode, JobParam, LibvirtError, typedParams } from "@godwit/libvirt";
import { Watch } from "../../../src/adapters/libvirt/migration/watch.ts";
import type { PausePolicy } from "../../../src/migration/contract.ts";

const refused = new LibvirtError(
  "libvirt",
  "no userfaultfd on this host",
  {},
  {
    remote: { code: ErrorCode.OPERATION_FAILED, domain: 10, level: 2, str1: null, str2: null, str3: null, int1: 0, int2: 0 },
  },
);

/** A guest that never converges; its move ends when it is aborted. */
async function move(policy: PausePolicy, more: { readonly records?: boolean; readonly obeys?: boolean } = {}): Promise<unknown> {
  const { records = true, obeys = false } = more;
  const aborted = Promise.withResolvers<never>();
  const signal = AbortSignal.timeout(20_000);
  signal.addEventListener("abort", () => aborted.reject(new Error("it goes on and on")));
  let round = 1;
  const last = (): Promise<void> => (obeys ? Promise.resolve() : Promise.reject(refused));
  const remote = {
    domainMigrateGetMaxDowntime: async () => 300n,
    domainMigrateSetMaxDowntime: async () => undefined,
    domainGetJobStats: async () => {
      round += 1;
      const values = { [JobParam.MEMORY_TOTAL]: 100n, [JobParam.MEMORY_PROCESSED]: BigInt(round), [JobParam.MEMORY_REMAINING]: 90n };
      return { type: DomainJobType.UNBOUNDED, params: typedParams.encode({ ...values, [JobParam.MEMORY_ITERATION]: BigInt(round) }) };
    },
    domainMigrateStartPostCopy: last,
    domainSuspend: last,
    domainAbortJob: async () => aborted.reject(new Error("aborted")),
  };
  const request = { contract: { maximumPauseMs: 300, policy }, destinationAddress: "10.0.0.2" };
  const phase = (): Promise<void> => (records ? Promise.resolve() : Promise.reject(new Error("the disk is full")));
  const clock = { now: () => 0, monotonic: () => round, sleep: () => new Promise<void>((resolve) => void setImmediate(resolve)) };
  const watch = new Watch({
    source: { remote },
    dom: { name: "web" },
    request,
    copies: [],
    definition: { live: { disks: [] } },
    hooks: { phase, progress: () => undefined },
    signal,
    clock,
  } as unknown as ConstructorParameters<typeof Watch>[0]);
  await watch.begin();
  return await watch.during(aborted.promise).catch((error: unknown) => error);
}

describe("a move whose guest does not converge", () => {
  it("is given up when the hypervisor refuses what the policy wants at last, or that cannot be written down", async () => {
    assert.match(String(await move("post-copy")), /given up: after .* its memory follows; but the hypervisor refused/);
    assert.match(String(await move("suspend-at-last")), /given up: after .* but the hypervisor refused/);
    assert.match(String(await move("suspend-at-last", { records: false, obeys: true })), /but that could not be written down/);
    assert.match(String(await move("strict")), /given up: after .* that were promised$/);
  });
});
