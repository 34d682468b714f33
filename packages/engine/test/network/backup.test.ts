import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultBackupTraffic, defaultHostMigrationSettings, type HostMigrationSettings } from "../../src/model/network.ts";
import { backupVerdicts, type BackupSelection } from "../../src/network/backup.ts";
import { editBackupTraffic } from "../../src/network/settings.ts";
import type { ServerNetwork } from "../../src/ports/server-network.ts";
import { hosts, nic, plan } from "./site.ts";

const { signal } = new AbortController();
const alpha = { id: "id-alpha", name: "alpha" };

function site(): BackupSelection["networks"] {
  const { networks } = plan(
    hosts(2, (_name, n) => [
      nic("eth1", [`10.1.0.${n}/24`], { speedMbps: 10_000 }),
      nic("eth2", [`10.2.0.${n}/24`, `fd00:2::${n}/64`], { speedMbps: 25_000 }),
    ]),
  );
  return ["management", "migration", "backup"].map((name, index) => ({ ...networks[index]!, id: name, name }));
}

/** A server with addresses in management and backup, who is answered unless `silent` names the address. */
function server(more: readonly string[] = [], silent = ""): ServerNetwork {
  return {
    addresses: () => ["10.0.0.99", "10.2.0.99", ...more].map((address) => ({ interface: "eth9", address })),
    probe: async (_from, to) => (to === silent ? "no answer within 2 s" : undefined),
  };
}

async function verdicts(more: Partial<BackupSelection> & { readonly list?: Partial<HostMigrationSettings> } = {}): Promise<string[]> {
  const { list = {}, ...rest } = more;
  const hostSettings = { ...defaultHostMigrationSettings, ...list };
  const found = await backupVerdicts(
    { host: alpha, sshPort: 22, networks: site(), settings: defaultBackupTraffic, hostSettings, server: server(), ...rest },
    { signal },
  );
  return found.map(
    ({ rank, network, reason, sourceAddress, destinationAddress }) =>
      `${rank ?? "-"} ${network} ${sourceAddress ?? "-"} > ${destinationAddress ?? "-"} ${reason.text}`,
  );
}

test("the rules are those of migrations, with the server at the other end", async () => {
  assert.deepEqual(await verdicts({ settings: { order: ["backup"], exclude: ["management"] } }), [
    "1 backup 10.2.0.99 > 10.2.0.1 chosen: first in the cluster's order",
    "- migration - > - out: the server has no address on it",
    "- management - > - out: excluded by the cluster's backup-traffic settings",
  ]);
});

test("the host's list governs, and picks the address", async () => {
  const entry = (subnet: string) => ({ subnet, priority: 3, managedBy: "admin" });
  assert.deepEqual(await verdicts({ list: { useAnyNetwork: false, networks: [entry("10.0.0.0/24")] } }), [
    "1 management 10.0.0.99 > 10.0.0.1 chosen: priority 3 in alpha's backup networks (10.0.0.0/24)",
    "- migration - > - out: the server has no address on it",
    "- backup - > - out: not among alpha's backup networks, which govern what it carries",
  ]);
  const [first] = await verdicts({
    server: server(["fd00:2::99"]),
    list: { useAnyNetwork: false, networks: [entry("fd00:2::/64")] },
  });
  assert.equal(first, "1 backup fd00:2::99 > fd00:2::1 chosen: priority 3 in alpha's backup networks (fd00:2::/64)");
});

test("a host that does not answer there is not reached by it", async () => {
  const found = await verdicts({ settings: { order: ["backup"], exclude: [] }, server: server([], "10.2.0.1") });
  assert.equal(found[0], "1 management 10.0.0.99 > 10.0.0.1 chosen: by metric 80000; it has a gateway, so those without come first");
  assert.ok(
    found.includes("- backup - > - out: the server does not reach alpha over it: alpha does not answer at 10.2.0.1: no answer within 2 s"),
    found.join("\n"),
  );
});

test("the server's own machine is reached over no network", async () => {
  const found = await verdicts({ server: server(["10.1.0.1"]) });
  assert.ok(
    found.every((line) => line.includes("source and destination are the same host")),
    found.join("\n"),
  );
});

test("settings are kept by id; ports that are none, and a network that is listed twice, change nothing", () => {
  const records = [{ id: "n1", name: "Backup", description: "", role: "cluster" as const, subnets: ["10.2.0.0/24"] }];
  const edited = editBackupTraffic(defaultBackupTraffic, { order: ["backup"], unencrypted: ["Backup"], tlsDirectory: "/tls" }, records);
  assert.deepEqual([edited.order, edited.unencrypted, edited.tlsDirectory], [["n1"], ["n1"], "/tls"]);
  assert.equal(editBackupTraffic(edited, { tlsDirectory: null }, records).tlsDirectory, undefined);
  assert.throws(() => editBackupTraffic(edited, { firstPort: 20_000 }, records), /lastPort must be a whole number from 20000/);
  assert.throws(() => editBackupTraffic(edited, { order: ["n1", "Backup"] }, records), /twice in order/);
});
