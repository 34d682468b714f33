import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzz } from "../../fuzz/host-network.fuzz.ts";
import { parseCounters } from "../../src/network/parse-counters.ts";
import { parseHostNetwork } from "../../src/network/parse-facts.ts";
import { parseProbeOutput } from "../../src/network/parse-probe.ts";
import { countersText, factsText, probeDestinations, probeText } from "./facts-text.ts";

test("facts: relations, addresses with their worth, gateways of both families, speeds, RDMA, storage targets", () => {
  const facts = parseHostNetwork(factsText);
  assert.deepEqual(
    facts.interfaces.map(({ name, kind, master, lower, lowerElsewhere, speedMbps }) => [
      name,
      kind,
      master,
      lower,
      lowerElsewhere,
      speedMbps,
    ]),
    [
      ["lo", undefined, undefined, undefined, false, undefined],
      ["ens1", undefined, "bond0", undefined, false, 25_000],
      ["bond0", "bond", "br0", undefined, false, 50_000],
      ["br0", "bridge", undefined, undefined, false, undefined],
      ["br0.20", "vlan", undefined, "br0", false, undefined],
      ["veth1", "veth", undefined, undefined, true, undefined],
    ],
  );
  assert.deepEqual(
    facts.interfaces[3]!.addresses.map(({ address, prefix, scope, stable, duplicate }) => [address, prefix, scope, stable, duplicate]),
    [
      ["10.0.0.7", 24, "global", true, false],
      ["10.0.0.9", 24, "global", true, false],
      ["fd00::7", 64, "global", false, false],
      ["fe80::1", 64, "link", false, true],
    ],
  );
  assert.deepEqual(facts.gatewayInterfaces, ["br0", "br0.20"]);
  assert.deepEqual(facts.storageTargets, ["10.9.0.1", "fd00::5"]);
  assert.deepEqual(facts.probes, { ping: false, tcp: true });
  assert.equal(facts.interfaces[1]!.rdma, true);
  assert.deepEqual([facts.interfaces[4]!.enabled, facts.interfaces[4]!.carrier], [false, false]);
  assert.equal(facts.interfaces[1]!.permanentMac, "02:00:00:00:00:02");
});

test("facts: what is cut off, doubled or absurd is refused in words", () => {
  const refused = (text: string, why: RegExp): void =>
    assert.throws(
      () => parseHostNetwork(text),
      (error: { kind: string; message: string }) => error.kind === "hypervisor" && why.test(error.message),
    );
  refused(factsText.slice(0, factsText.indexOf("@@ tools")), /ends early; missing: tools, end/);
  refused(factsText.replace('"ifname":"ens1"', '"ifname":"br0"'), /lists an interface twice/);
  refused(factsText.replace('"prefixlen":24', '"prefixlen":99'), /an address that is none/);
  refused(factsText.replace('"10.0.0.7"', '"10.0.0.777"'), /an address that is none/);
  refused(factsText.replace('"ifname":"br0"', '"ifname":"a/../../b"'), /an interface with an unexpected ifname/);
  refused(factsText.replace('"mtu":65536', '"mtu":"x"'), /unexpected mtu/);
  refused(factsText.replace("{},", "{nonsense"), /broken JSON/);
  refused(factsText.replace("ens1 25000", "ens1 fast"), /unreadable speed/);
  refused(`motd\n${factsText}`, /before the first section/);
  refused("\n".repeat(9000), /more than 8192 lines/);
});

test("probes: answers in any order, who answered, routes by a gateway", () => {
  const [v4, v6, routed] = parseProbeOutput(probeText, probeDestinations);
  assert.deepEqual(v4, { way: "ping", why: undefined, jumbo: true, route: { device: "eth0", gateway: false }, mac: "02:00:00:00:00:02" });
  assert.deepEqual(v6, {
    way: "refused",
    why: "silent",
    jumbo: undefined,
    route: { device: "eth0", gateway: false },
    mac: "02:00:00:00:00:03",
  });
  assert.deepEqual(routed, { way: "none", why: "timeout", jumbo: undefined, route: { device: "eth0", gateway: true }, mac: undefined });
  assert.throws(() => parseProbeOutput(probeText.replace("@@ end", ""), probeDestinations), /not complete/);
  assert.throws(() => parseProbeOutput(probeText.replace("2 none", "0 none"), probeDestinations), /unexpected answer/);
  assert.throws(() => parseProbeOutput(probeText.replace("2 none timeout -\n", ""), probeDestinations), /no answer for 10.1.0.2/);
});

test("counters: bytes both ways with the host's own time", () => {
  assert.deepEqual(parseCounters(countersText), {
    at: 2_704_670,
    interfaces: [
      { name: "lo", receivedBytes: 3193, sentBytes: 3193 },
      { name: "eth0.20", receivedBytes: 550_007_441, sentBytes: 1_153_718 },
    ],
  });
  assert.throws(() => parseCounters(countersText.replace("2704.67", "soon")), { kind: "hypervisor" });
  assert.throws(() => parseCounters(countersText.replace("3193", "99999999999999999")), /beyond any real traffic/);
});

test("a short fuzz run of every parser", async () => {
  const { cases } = await fuzz({ seconds: 1, seed: 7 });
  assert.ok(cases > 100, String(cases));
});
