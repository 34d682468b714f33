import assert from "node:assert/strict";
import { test } from "node:test";
import { type Clock, systemClock } from "@godwit/core";
import {
  type BackupTrafficSettings,
  defaultBackupTraffic,
  type HostView,
  networkTraffic,
  type NetworkVerdict,
  type ProtectionHosts,
} from "../../src/index.ts";

const options = { signal: AbortSignal.timeout(10_000) };
const noTls = (): Promise<never> => assert.fail("nobody may ask for TLS without credentials");

test("a network that was lost is left alone while there is another way, until it is time or the settings change", async () => {
  let now = 0;
  const clock: Clock = { ...systemClock, monotonic: () => now };
  let settings: BackupTrafficSettings = { ...defaultBackupTraffic, unencrypted: ["n1", "n2"] };
  const verdict = (networkId: string): NetworkVerdict => ({
    networkId,
    network: networkId,
    verdict: "chosen",
    reason: { code: "x", text: "chosen" },
    destinationAddress: "10.0.0.1",
  });
  const hosts = { host: () => ({ id: "h1", name: "alpha", uri: "qemu+ssh://alpha/system" }) as HostView } as unknown as ProtectionHosts;
  const networks = { backupTraffic: async () => settings, backupVerdicts: async () => [verdict("n1"), verdict("n2")], list: () => [] };
  const traffic = networkTraffic({ hosts, networks, clock });
  const ways = async (): Promise<(string | undefined)[]> => (await traffic.routes("h1", noTls, options)).map(({ view }) => view.networkId);
  const [first] = await traffic.routes("h1", noTls, options);
  assert.ok(first);
  assert.deepEqual(await ways(), ["n1", "n2", undefined]);
  traffic.lost("h1", first.view, "nothing came for 10 s");
  assert.deepEqual(await ways(), ["n2", undefined]);
  now += 11 * 60_000;
  assert.deepEqual(await ways(), ["n1", "n2", undefined]);
  traffic.lost("h1", first.view, "nothing came for 10 s");
  settings = { ...settings, exclude: ["n3"] };
  assert.deepEqual(await ways(), ["n1", "n2", undefined]);
  settings = { ...settings, unencrypted: ["n1"], otherwise: "refuse" };
  await ways();
  traffic.lost("h1", first.view, "nothing came for 10 s");
  traffic.lost("h1", { ...first.view, networkId: "n2" }, "nothing came for 10 s");
  assert.deepEqual(await ways(), ["n1"], "the only way there is, is tried again");
});
