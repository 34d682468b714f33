import assert from "node:assert/strict";
import { test } from "node:test";
import { CancelledError } from "@godwit/core";
import { Vault } from "@godwit/vault";
import { isVoid } from "../src/format/envelope.ts";
import { MemoryDisk, newVault, noise, reopen, secret, signal, tuning } from "./support/disks.ts";
import { FaultyStore } from "./support/faulty-store.ts";
import { MemoryStore } from "./support/memory-store.ts";

const sessionsIn = ({ objects }: MemoryStore): string[] => [...objects.keys()].filter((name) => name.startsWith("session/"));

/** What a vault holds of which half a pack and a whole VM are of no use any more. */
async function withGarbage(): Promise<ReadonlyMap<string, Uint8Array>> {
  const { store, vault } = await newVault();
  const put = (name: string, ...seeds: readonly number[]): Promise<{ id: string }> => {
    const content = Buffer.concat(seeds.map((seed) => noise(60_000, seed)));
    return vault.put({ name, disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  };
  const gone = [await put("a", 1, 2, 3), await put("b", 4, 5)];
  await put("a", 1);
  for (const { id } of gone) await vault.deletePoint(id, { signal });
  return store.objects;
}

for (const what of ["gc", "repair"] as const) {
  test(`${what} that is cancelled at any call leaves no session that the next gc would wait for`, async () => {
    const objects = await withGarbage();
    for (let number = 0, cancelled = true; cancelled; number += 1) {
      const store = new MemoryStore(objects);
      const stop = new AbortController();
      const faulty = new FaultyStore(store);
      const vault = await Vault.open(faulty, secret, { signal, tuning });
      const first = faulty.calls;
      faulty.script = (call) => {
        if (call.number === first + number) stop.abort(new CancelledError("enough"));
        return undefined;
      };
      cancelled = await vault[what]({ signal: stop.signal }).then(
        () => stop.signal.aborted,
        () => true,
      );
      assert.deepEqual(sessionsIn(store), [], `cancelled at call ${number}`);
      const { pending } = await (await reopen(store)).gc({ signal });
      assert.deepEqual(pending, [], `cancelled at call ${number}`);
    }
  });
}

test("a segment that gc was not heard of again can appear no more, whenever it arrives", async () => {
  const store = new MemoryStore(await withGarbage());
  const faulty = new FaultyStore(store);
  const vault = await Vault.open(faulty, secret, { signal, tuning });
  const late = new Set<string>();
  faulty.script = ({ operation, name }) => {
    if (operation !== "put" || !name.startsWith("index/") || late.size > 0) return undefined;
    late.add(name);
    return { kind: "late" };
  };
  await assert.rejects(vault.gc({ signal }));
  assert.deepEqual(sessionsIn(store), []);
  await faulty.deliver();
  for (const name of late) assert.ok(isVoid(store.objects.get(name) ?? assert.fail("nothing stands in its way")), name);
});
