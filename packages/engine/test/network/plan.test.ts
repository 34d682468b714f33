import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { uuidV5 } from "../../src/network/identity.ts";
import type { ProbeTarget } from "../../src/network/probe.ts";
import { address, describe, hosts, nic, plan, silence } from "./site.ts";

const migration = (_name: string, n: number) => [nic("eth1", [`10.1.0.${n}/24`], { speedMbps: 10_000 })];
const over =
  (device: string, ...pair: readonly string[]) =>
  ({ from, to }: ProbeTarget): boolean =>
    from.interface.name === device && pair.includes(from.host.name) && pair.includes(to.host.name);

test("management with a gateway and a fast private network", () => {
  assert.deepEqual(describe(plan(hosts(3, migration))), [
    "Cluster Network 1: 10.0.0.0/24, cluster-and-client, metric 80000, up: all 3 hosts reach each other",
    "Cluster Network 2: 10.1.0.0/24, cluster, metric 39840, up: all 3 hosts reach each other",
  ]);
});

test("IPv4 and IPv6 of the same wires are one network; an IPv6 that does not work is said", () => {
  const sketches = hosts(2, (_name, n) => [nic("eth1", [`10.1.0.${n}/24`, `fd00:1::${n}/64`, `fe80::${n}/64`])]);
  const deaf = ({ toAddress }: ProbeTarget) => (toAddress.family === 6 ? silence : {});
  assert.deepEqual(describe(plan(sketches)).slice(1), [
    "Cluster Network 2: 10.1.0.0/24 + fd00:1::/64, cluster, metric 40000, up: alpha and bravo reach each other",
  ]);
  assert.match(
    plan(sketches, [], deaf).networks[1]!.stateReason.text,
    /warning: one address family does not work: alpha hears nothing from bravo \(fd00:1::2\) by ping and TCP port 22/,
  );
});

test("two IPv4 subnets on one interface are two networks, two IPv6 prefixes one", () => {
  const sketches = hosts(2, (_name, n) => [
    nic("eth1", [`10.1.0.${n}/24`, `10.2.0.${n}/24`]),
    nic("eth2", [`fd00:1::${n}/64`, `fd00:2::${n}/64`]),
  ]);
  assert.deepEqual(
    plan(sketches).networks.map(({ subnets }) => subnets),
    [["10.0.0.0/24"], ["10.1.0.0/24"], ["10.2.0.0/24"], ["fd00:1::/64", "fd00:2::/64"]],
  );
});

test("a pulled cable: that interface failed, the network partitioned, with the names", () => {
  const sketches = hosts(3, (name, n) => [nic("eth1", [`10.1.0.${n}/24`], { carrier: name !== "charlie" })]);
  assert.deepEqual(describe(plan(sketches)).slice(1), [
    "Cluster Network 2: 10.1.0.0/24, cluster, metric 40000, partitioned: cannot talk to each other: alpha and charlie (eth1 of charlie has no link (cable or switch port)); bravo and charlie (eth1 of charlie has no link (cable or switch port))",
    "  charlie eth1 failed: eth1 of charlie has no link (cable or switch port)",
  ]);
});

test("one host cut off behind a switch is to blame, not those that miss it", () => {
  const cut = (target: ProbeTarget) =>
    over("eth1", "alpha", "charlie")(target) || over("eth1", "bravo", "charlie")(target) ? silence : {};
  const [, network] = plan(hosts(3, migration), [], cut).networks;
  assert.equal(network?.state, "partitioned");
  assert.deepEqual(
    network.interfaces.map(({ host, state, reason }) => `${host} ${state}: ${reason.text}`),
    [
      "alpha up: reaches bravo, not charlie, whom nobody reaches",
      "bravo up: reaches alpha, not charlie, whom nobody reaches",
      "charlie unreachable: alpha hears nothing from charlie (10.1.0.3) by ping and TCP port 22; bravo hears nothing from charlie (10.1.0.3) by ping and TCP port 22",
    ],
  );
});

test("two hosts that miss each other are both to blame, the third is not", () => {
  const [, network] = plan(hosts(3, migration), [], (target) => (over("eth1", "alpha", "charlie")(target) ? silence : {})).networks;
  assert.deepEqual(
    network?.interfaces.map(({ host, state }) => `${host} ${state}`),
    ["alpha unreachable", "bravo up", "charlie unreachable"],
  );
});

test("one way only is not together: a firewall on one side", () => {
  const oneWay = ({ from }: ProbeTarget) =>
    from.host.name === "bravo" && from.interface.name === "eth1" ? { ...silence, mac: "02:00:00:00:00:01" } : {};
  assert.deepEqual(describe(plan(hosts(2, migration), [], oneWay)).slice(1), [
    "Cluster Network 2: 10.1.0.0/24, cluster, metric 39840, down: no two hosts reach each other: alpha (10.1.0.1) is on the wire for bravo but does not answer ping and TCP port 22: a firewall? (though alpha reaches bravo)",
    "  alpha eth1 unreachable: alpha (10.1.0.1) is on the wire for bravo but does not answer ping and TCP port 22: a firewall? (though alpha reaches bravo)",
    "  bravo eth1 unreachable: alpha (10.1.0.1) is on the wire for bravo but does not answer ping and TCP port 22: a firewall? (though alpha reaches bravo)",
  ]);
});

test("an answer that came another way, or from somebody else, does not count", () => {
  const text = (answer: object): string =>
    plan(hosts(2, migration), [], ({ from }) => (from.interface.name === "eth1" ? answer : {})).networks[1]!.stateReason.text;
  assert.match(text({ route: { device: "eth0", gateway: false } }), /the way from alpha to bravo \(10.1.0.2\) leaves by eth0/);
  assert.match(text({ route: { device: "eth1", gateway: true } }), /leads over a gateway/);
  assert.match(text({ mac: "02:42:ac:11:00:02" }), /02:42:ac:11:00:02 answers at 10.1.0.2, which is no interface of bravo/);
});

test("libvirt's NAT bridge, docker0 with containers and a dummy on every host are not networks", () => {
  const own = (): ReturnType<typeof nic>[] => [
    nic("virbr0", ["192.168.122.1/24"], { kind: "bridge", carrier: false }),
    nic("docker0", ["172.17.0.1/16"], { kind: "bridge" }),
    nic("veth1234", ["fe80::1/64"], { kind: "veth", master: "docker0", lowerElsewhere: true }),
    nic("dummy0", ["10.9.9.9/24"], { kind: "dummy" }),
  ];
  const lines = describe(plan(hosts(2, own)));
  assert.equal(lines.length, 1 + 6);
  assert.ok(lines.includes("ignored alpha virbr0: it has no way out of the host: no port of it is real hardware or a tunnel"));
  assert.ok(
    lines.includes("ignored bravo docker0: alpha, bravo all have 172.17.0.1 on it: a bridge of each host's own, not a shared network"),
  );
});

test("a container that answers at the peer's docker0 address proves nothing; the peer itself does", () => {
  const sketches = hosts(2, (_name, n) => [
    nic("docker0", [`172.17.0.${n}/16`], { kind: "bridge" }),
    nic("veth1", [], { kind: "veth", master: "docker0", lowerElsewhere: true }),
  ]);
  const container = ({ from }: ProbeTarget) => (from.interface.name === "docker0" ? { mac: "02:42:ac:11:00:02" } : {});
  assert.equal(plan(sketches, [], container).networks.length, 1);
  const shared = plan(sketches);
  assert.equal(shared.networks.length, 2, "a host that is itself a container reaches its peers so");
  assert.equal(plan(sketches, shared.changed, () => silence).networks.length, 2, "once proven, it stays known");
});

test("bridges, bonds and VLANs over real hardware count; their ports do not", () => {
  const stack = (_name: string, n: number) => [
    nic("ens1", ["10.5.0.9/24"], { master: "bond0" }),
    nic("ens2", [], { master: "bond0" }),
    nic("bond0", [], { kind: "bond", master: "br0", speedMbps: 20_000 }),
    nic("br0", [`10.2.0.${n}/24`], { kind: "bridge", speedMbps: 20_000 }),
    nic("br0.30", [`10.3.0.${n}/24`], { kind: "vlan", lower: "br0" }),
    nic("vnet0", ["fe80::9/64"], { kind: "tun", master: "br0" }),
  ];
  assert.deepEqual(describe(plan(hosts(2, stack))).slice(1), [
    "Cluster Network 2: 10.2.0.0/24, cluster, metric 39680, up: alpha and bravo reach each other",
    "Cluster Network 3: 10.3.0.0/24, cluster, metric 40000, up: alpha and bravo reach each other",
    "ignored alpha ens1: a port of bond0: an address belongs on bond0 itself",
    "ignored bravo ens1: a port of bond0: an address belongs on bond0 itself",
  ]);
});

test("a network with a storage session gets the role none, unless no other is left", () => {
  const sketches = hosts(2, migration).map((host) => ({ ...host, storage: ["10.1.0.200"] }));
  assert.equal(plan(sketches).networks[1]!.role, "none");
  const converged = hosts(2, () => []).map((host) => ({ ...host, storage: ["10.0.0.200"] }));
  assert.equal(plan(converged).networks[0]!.role, "cluster-and-client");
});

test("a lost host is unavailable with its last facts; one that does not tell is unknown", () => {
  const [alpha, bravo, charlie] = hosts(3, () => []);
  const sketches = [alpha!, { ...bravo!, state: "unavailable" as const, problem: "bravo is lost: keepalive" }, charlie!];
  assert.deepEqual(describe(plan(sketches)), [
    "Cluster Network 1: 10.0.0.0/24, cluster-and-client, metric 80000, up: alpha and charlie reach each other; bravo is not up",
    "  bravo eth0 unavailable: bravo is lost: keepalive",
  ]);
  const mute = plan([alpha!, { ...bravo!, state: "unknown" as const, problem: "network facts of bravo: no ssh" }]).networks[0]!;
  assert.deepEqual([mute.state, mute.interfaces[1]?.state], ["up", "unknown"]);
  const gone = plan([alpha!, bravo!].map((host) => ({ ...host, state: "unavailable" as const }))).networks[0]!;
  assert.equal(gone.state, "unavailable");
});

test("nobody could probe: neither up nor down is claimed", () => {
  const [network] = plan(
    hosts(2, () => []),
    [],
    () => undefined,
  ).networks;
  assert.equal(network?.state, "unavailable");
  assert.match(network.stateReason.text, /nobody could probe it: ssh: connection lost/);
  assert.deepEqual(
    network.interfaces.map(({ state }) => state),
    ["unknown", "unknown"],
  );
});

test("one host only, duplicate and temporary addresses, differing MTU", () => {
  const single = plan(hosts(1, () => [])).networks[0]!;
  assert.deepEqual([single.state, single.stateReason.text], ["up", "only alpha has an interface on it, so nothing can move over it"]);
  const twins = plan(hosts(2, () => [nic("eth1", ["10.1.0.7/24"])])).networks[1]!;
  assert.match(twins.stateReason.text, /alpha and bravo have no two different addresses of one subnet to try/);
  const dad = plan(
    hosts(2, (name, n) => [nic("eth1", [address(`fd00:1::${n}/64`, name === "alpha" ? { duplicate: true, stable: false } : {})])]),
  ).networks[1]!;
  assert.equal(dad.interfaces[0]?.reason.text, "another machine uses fd00:1::1 of alpha too");
  const mtu = plan(hosts(2, (_name, n) => [nic("eth1", [`10.1.0.${n}/24`], { mtu: n === 1 ? 9000 : 1500 })])).networks[1]!;
  assert.match(mtu.stateReason.text, /warning: the MTU differs, 9000 on alpha; 1500 on bravo/);
  const privacy = plan(hosts(2, (_name, n) => [nic("eth1", [address(`fd00:1::f${n}/64`, { stable: false }), `fd00:1::${n}/64`])]))
    .networks[1]!;
  assert.equal(privacy.links[0]?.toAddress, "fd00:1::2");
});

test("what the admin decided is found again by subnet when another family comes, goes, or moves", () => {
  const v6 = (_name: string, n: number) => [nic("eth1", [`fd00:1::${n}/64`])];
  const both = (_name: string, n: number) => [nic("eth1", [`10.1.0.${n}/24`, `fd00:1::${n}/64`])];
  const v4 = (_name: string, n: number) => [nic("eth1", [`10.1.0.${n}/24`])];
  const first = plan(hosts(2, v6));
  const renamed = first.changed.map((record) => (record.subnets[0] === "fd00:1::/64" ? { ...record, name: "LM", metric: 5 } : record));
  const second = plan(hosts(2, both), renamed);
  assert.deepEqual(second.networks.find(({ name }) => name === "LM")?.subnets, ["10.1.0.0/24", "fd00:1::/64"]);
  const records = renamed.map((record) => second.changed.find(({ id }) => id === record.id) ?? record);
  const third = plan(hosts(2, v4), records);
  assert.deepEqual(
    third.networks.map(({ id, name, metric }) => ({ id, name, metric })).find(({ name }) => name === "LM"),
    { id: renamed.find(({ name }) => name === "LM")!.id, name: "LM", metric: 5 },
  );
  // Split over two interfaces: the record stays with the subnet that names it; the other starts anew, with an id of its own.
  const split = (_name: string, n: number) => [nic("eth1", [`10.1.0.${n}/24`]), nic("eth2", [`fd00:1::${n}/64`])];
  const ids = plan(hosts(2, split), records).networks.map(({ id }) => id);
  assert.equal(new Set(ids).size, 3);
});

test("ids are made of the subnet, numbers stay when networks come before them", () => {
  const [first] = plan(hosts(2, () => [])).changed;
  assert.equal(first?.id, uuidV5("10.0.0.0/24"));
  const more = plan(
    hosts(2, (_name, n) => [nic("eth1", [`9.0.0.${n}/24`])]),
    [first],
  );
  assert.deepEqual(
    more.networks.map(({ name, subnets }) => `${name} ${subnets[0]}`),
    ["Cluster Network 1 10.0.0.0/24", "Cluster Network 2 9.0.0.0/24"],
  );
  assert.deepEqual(
    more.changed.map(({ name }) => name),
    ["Cluster Network 2"],
  );
});

test("a known plan changes no record", () => {
  const { changed } = plan(hosts(3, migration));
  assert.deepEqual(plan(hosts(3, migration), changed).changed, []);
});

test("property: the order of hosts and interfaces is without effect", () => {
  const place = fc.record({ net: fc.integer({ min: 0, max: 4 }), both: fc.boolean(), carrier: fc.boolean() });
  const cluster = fc.array(fc.array(place, { maxLength: 4 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(cluster, fc.infiniteStream(fc.integer()), (sketch, order) => {
      const sketches = hosts(sketch.length, () => []).map((host, index) => ({
        ...host,
        interfaces: [
          ...host.interfaces,
          ...sketch[index]!.map(({ net, both, carrier }, at) =>
            nic(`eth${at + 1}`, [`10.1.${net}.${index * 8 + at + 1}/24`, ...(both ? [`fd00:${net}::${index * 8 + at + 1}/64`] : [])], {
              carrier,
            }),
          ),
        ],
      }));
      const key = <T>(items: readonly T[]): T[] =>
        items
          .map((item) => [order.next().value, item] as const)
          .toSorted(([a], [b]) => a - b)
          .map(([, item]) => item);
      const shuffled = key(sketches.map((host) => ({ ...host, interfaces: key(host.interfaces) })));
      // MACs follow the place in the list, links the order of probing: neither is a promise.
      const stable = ({ networks }: ReturnType<typeof plan>): unknown =>
        networks.map(({ links: _links, ...network }) => ({
          ...network,
          interfaces: network.interfaces.map(({ mac: _mac, ...row }) => row),
        }));
      assert.deepEqual(stable(plan(shuffled)), stable(plan(sketches)));
    }),
    { numRuns: 200 },
  );
});
