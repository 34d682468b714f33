import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { LocalStore, Vault } from "@godwit/vault";
import {
  type JobContext,
  type MemberRecord,
  type ProtectionGroup,
  type RetainInput,
  retainJob,
  type RetainResult,
} from "../../src/index.ts";
import { MemoryCollection } from "../network/support.ts";
import { soleVault } from "./sole-vault.ts";

const signal = AbortSignal.timeout(60_000);
const cost = { memoryKiB: 1024, passes: 1, lanes: 1 };
const idOf = (vm: number): string => `00000000-0000-4000-8000-00000000000${vm}`;

describe("retention", () => {
  test("lets go only points of the very VM that nothing is read from, not those of another host's VM of the same name", async () => {
    const folder = await mkdtemp(join(tmpdir(), "godwit-retain-"));
    await using _gone = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
    await using store = await LocalStore.open(join(folder, "vault"), { signal, create: true });
    const secret = { kind: "passphrase", passphrase: "x" } as const;
    const vault = await Vault.init(store, { secret, label: "test", cost, signal, tuning: { threads: 0 } });
    for (const [hour, vm] of [1, 2, 1, 2, 2].entries()) {
      const machine = { definition: `<domain><name>web</name><uuid>${idOf(vm)}</uuid></domain>`, files: [] };
      const time = new Date(Date.UTC(2026, 10, 20, hour)).toISOString();
      const name = hour === 3 ? "before-it-was-renamed" : "web";
      await vault.put({ name, time, consistency: { level: "crash", evidence: [] }, machine, disks: [] }, { signal });
    }
    const groups = new MemoryCollection<ProtectionGroup>();
    const members = new MemoryCollection<MemberRecord>();
    for (const [vm, last] of [
      [1, 7],
      [2, 1],
    ] as const) {
      const id = `g${vm}`;
      const group = { id, name: id, vaultId: vault.id, retention: { last }, schedule: { timeZone: "UTC" } };
      await groups.put(id, group as unknown as ProtectionGroup);
      await members.put(id, { groupId: id, vmId: idOf(vm), vm: "web", since: "", failures: 0, runs: [] });
    }
    const inUse = new Map([[(await vault.points({ signal })).points[1]!.id, "job r1 (recover web)"]]);
    const kind = retainJob({ vaults: soleVault(vault), groups, members, inUse: () => inUse, submitGc: () => Promise.resolve() });
    const input = { vmId: idOf(2), vm: "web", vaultId: vault.id, vault: "main" };
    const context = { input, signal, reason: () => Promise.resolve() } as unknown as JobContext<RetainInput>;
    const retain = async (): Promise<unknown> => {
      const { kept, deleted } = (await kind.run(context)) as RetainResult;
      return [kept, deleted.map(({ time }) => time.slice(11, 13))];
    };
    assert.deepEqual(await retain(), [2, ["03"]], "a recovery from another one is under way");
    inUse.clear();
    assert.deepEqual(await retain(), [1, ["01"]]);
    const left = (await vault.points({ signal })).points.map(({ time, machine }) => [time.slice(11, 13), machine?.definition.at(-17)]);
    assert.deepEqual(left, [
      ["00", "1"],
      ["02", "1"],
      ["04", "2"],
    ]);
  });
});
