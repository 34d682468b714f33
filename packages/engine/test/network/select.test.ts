import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { defaultHostMigrationSettings, type HostMigrationSettings, type LiveMigrationSettings } from "../../src/model/network.ts";
import type { ClusterNetwork } from "../../src/network/model.ts";
import { selectMigrationNetworks } from "../../src/network/select.ts";
import { hosts, nic, plan, silence } from "./site.ts";

const source = { id: "id-alpha", name: "alpha" };
const destination = { id: "id-bravo", name: "bravo" };
const none: LiveMigrationSettings = { order: [], exclude: [] };

/** management (gateway), migration (10 Gbit/s, both families) and storage (25 Gbit/s), by short names. */
function site(answer: Parameters<typeof plan>[2] = () => ({})): ClusterNetwork[] {
  const { networks } = plan(
    hosts(2, (_name, n) => [
      nic("eth1", [`10.1.0.${n}/24`, `10.1.0.10${n}/24`, `fd00:1::${n}/64`], { speedMbps: 10_000 }),
      nic("eth2", [`10.2.0.${n}/24`], { speedMbps: 25_000 }),
    ]),
    [],
    answer,
  );
  return ["management", "migration", "storage"].map((name, index) => ({ ...networks[index]!, id: name, name }));
}

interface Case {
  readonly networks?: readonly ClusterNetwork[];
  readonly live?: Partial<LiveMigrationSettings>;
  readonly settings?: Partial<HostMigrationSettings>;
}

function verdicts({ networks = site(), live = {}, settings = {} }: Case): string[] {
  return selectMigrationNetworks({
    source,
    destination,
    networks,
    live: { ...none, ...live },
    destinationSettings: { ...defaultHostMigrationSettings, ...settings },
  }).map(({ rank, network, reason, destinationAddress }) => `${rank ?? "-"} ${network} ${destinationAddress ?? "-"} ${reason.text}`);
}

const entry = (subnet: string, priority = 0) => ({ subnet, priority, managedBy: "admin" });

test("nobody decided: without a gateway first, by metric, cluster traffic's network last", () => {
  assert.deepEqual(verdicts({}), [
    "1 migration 10.1.0.2 chosen: by metric 39840; networks without a gateway come first",
    "2 management 10.0.0.2 fallback: by metric 80000; it has a gateway, so those without come first",
    "3 storage 10.2.0.2 fallback: by metric; cluster traffic prefers it (lowest metric, 39600), so it comes last",
  ]);
});

test("a lone network without a gateway goes first: nothing else keeps migrations off the clients' network", () => {
  assert.deepEqual(
    verdicts({ networks: site().filter(({ id }) => id !== "storage") }).map((line) => line.split(" ", 2).join(" ")),
    ["1 migration", "2 management"],
  );
});

test("the cluster's order comes first, the rest follows by metric", () => {
  assert.deepEqual(verdicts({ live: { order: ["storage", "management"] } }), [
    "1 storage 10.2.0.2 chosen: first in the cluster's order",
    "2 management 10.0.0.2 fallback: second in the cluster's order",
    "3 migration 10.1.0.2 fallback: by metric 39840; networks without a gateway come first",
  ]);
});

test("an exclusion wins over the order, a role of none over nothing", () => {
  const networks = site().map((network) => (network.id === "storage" ? { ...network, role: "none" as const } : network));
  assert.deepEqual(verdicts({ networks, live: { order: ["migration", "storage"], exclude: ["migration"] } }), [
    "1 management 10.0.0.2 chosen: by metric 80000; it has a gateway, so those without come first",
    "- storage - out: its role is none, so Godwit may not use it",
    "- migration - out: excluded by the cluster's live-migration settings",
  ]);
});

test("the destination's list governs what comes in: others are out, lower numbers first", () => {
  const settings = { useAnyNetwork: false, networks: [entry("10.2.0.0/24", 5), entry("10.1.0.0/24", 7)] };
  assert.deepEqual(verdicts({ settings }), [
    "1 storage 10.2.0.2 chosen: priority 5 in bravo's migration networks (10.2.0.0/24)",
    "2 migration 10.1.0.2 fallback: priority 7 in bravo's migration networks (10.1.0.0/24)",
    "- management - out: not among bravo's migration networks, which govern what comes in",
  ]);
});

test("with use-any-network the list only prefers; a tie falls back to the default order", () => {
  const settings = { useAnyNetwork: true, networks: [entry("10.0.0.0/24", 1), entry("10.1.0.0/24", 1)] };
  assert.deepEqual(
    verdicts({ settings }).map((line) => line.split(" ", 2).join(" ")),
    ["1 migration", "2 management", "3 storage"],
  );
});

test("the cluster's order wins over the host's priorities, within what the host admits", () => {
  const settings = { useAnyNetwork: false, networks: [entry("10.1.0.0/24", 0), entry("10.2.0.0/24", 9)] };
  assert.deepEqual(verdicts({ settings, live: { order: ["management", "storage"] } }), [
    "1 storage 10.2.0.2 chosen: second in the cluster's order",
    "2 migration 10.1.0.2 fallback: priority 0 in bravo's migration networks (10.1.0.0/24)",
    "- management - out: not among bravo's migration networks, which govern what comes in",
  ]);
});

test("the table of the guide", () => {
  const chain = (chosen: Case): string[] =>
    verdicts(chosen)
      .filter((line) => !line.startsWith("-"))
      .map((line) => line.split(" ")[1]!);
  const two = [entry("10.1.0.0/24", 0), entry("10.2.0.0/24", 9)];
  assert.deepEqual(chain({}), ["migration", "management", "storage"]);
  assert.deepEqual(chain({ live: { order: ["storage", "management"] } }), ["storage", "management", "migration"]);
  assert.deepEqual(chain({ settings: { useAnyNetwork: false, networks: [entry("10.2.0.0/24", 5), entry("10.1.0.0/24", 7)] } }), [
    "storage",
    "migration",
  ]);
  assert.deepEqual(chain({ live: { order: ["management", "storage"] }, settings: { useAnyNetwork: false, networks: two } }), [
    "storage",
    "migration",
  ]);
  assert.deepEqual(chain({ settings: { useAnyNetwork: true, networks: two } }), ["migration", "storage", "management"]);
});

test("an empty list admits everything, whatever use-any-network says", () => {
  assert.equal(verdicts({ settings: { useAnyNetwork: false } })[0]?.startsWith("1 migration"), true);
});

test("a single address or an IPv6 subnet in the list picks that address", () => {
  const pick = (subnet: string): string | undefined => verdicts({ settings: { useAnyNetwork: false, networks: [entry(subnet)] } })[0];
  assert.equal(pick("10.1.0.102"), "1 migration 10.1.0.102 chosen: priority 0 in bravo's migration networks (10.1.0.102)");
  assert.equal(pick("fd00:1::/64"), "1 migration fd00:1::2 chosen: priority 0 in bravo's migration networks (fd00:1::/64)");
});

test("only what answers between these two hosts counts, in the family that answers", () => {
  const v4Dead = site(({ toAddress, from }) => (from.interface.name === "eth1" && toAddress.family === 4 ? silence : {}));
  assert.match(verdicts({ networks: v4Dead })[0]!, /^1 migration fd00:1::2 chosen/);
  const dead = site(({ from }) => (from.interface.name === "eth1" ? silence : {}));
  assert.equal(
    verdicts({ networks: dead }).at(-1),
    "- migration - out: alpha does not reach bravo over it: alpha hears nothing from bravo (10.1.0.2) by ping and TCP port 22",
  );
});

test("hosts without an address on it, and interfaces that failed, are named", () => {
  const [alpha, bravo] = hosts(2, (name, n) => (name === "alpha" ? [nic("eth1", [`10.1.0.${n}/24`])] : []));
  const { networks } = plan([alpha!, bravo!]);
  assert.equal(verdicts({ networks }).at(-1), "- Cluster Network 2 - out: bravo has no address on it");
  const cut = plan(hosts(2, (name, n) => [nic("eth1", [`10.1.0.${n}/24`], { enabled: name !== "bravo" })])).networks;
  assert.equal(verdicts({ networks: cut }).at(-1), "- Cluster Network 2 - out: eth1 of bravo is switched off (ip link set eth1 up)");
});

test("property: one verdict each, ranks without gaps, excluded never in, the order kept", () => {
  const ids = ["management", "migration", "storage"];
  const networks = site();
  fc.assert(
    fc.property(
      fc.record({
        order: fc.shuffledSubarray(ids),
        exclude: fc.subarray(ids),
        useAnyNetwork: fc.boolean(),
        listed: fc.subarray(["10.0.0.0/24", "10.1.0.0/24", "10.2.0.0/24", "10.0.0.0/8", "fd00:1::/64"]),
        priorities: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 5, maxLength: 5 }),
        roles: fc.array(fc.constantFrom("none", "cluster", "cluster-and-client"), { minLength: 3, maxLength: 3 }),
      }),
      ({ order, exclude, useAnyNetwork, listed, priorities, roles }) => {
        const settings = { useAnyNetwork, networks: listed.map((subnet, index) => entry(subnet, priorities[index])) };
        const all = selectMigrationNetworks({
          source,
          destination,
          networks: networks.map((network, index) => ({ ...network, role: roles[index]! })),
          live: { order, exclude },
          destinationSettings: { ...defaultHostMigrationSettings, ...settings },
        });
        assert.deepEqual(all.map(({ networkId }) => networkId).toSorted(), ids.toSorted());
        const ranked = all.filter(({ rank }) => rank !== undefined);
        assert.deepEqual(
          ranked.map(({ rank }) => rank),
          ranked.map((_, index) => index + 1),
        );
        assert.deepEqual(
          all.map(({ verdict }) => verdict),
          all.map(({ rank }) => (rank === undefined ? "out" : rank === 1 ? "chosen" : "fallback")),
        );
        assert.ok(ranked.every(({ networkId }) => !exclude.includes(networkId)));
        const inOrder = ranked.map(({ networkId }) => networkId).filter((id) => order.includes(id));
        assert.deepEqual(
          inOrder,
          order.filter((id) => inOrder.includes(id)),
        );
        assert.ok(all.every(({ verdict, reason }) => reason.text.startsWith(`${verdict}: `)));
      },
    ),
    { numRuns: 500 },
  );
});
