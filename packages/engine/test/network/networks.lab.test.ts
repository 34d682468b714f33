import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { systemClock } from "@godwit/core";
import { type Lab, type LabHost, type NetworkName, startLab } from "@godwit/lab";
import { readCounters } from "../../src/network/gather.ts";
import { Networks } from "../../src/network/service.ts";
import type { HostSource } from "../../src/network/observe.ts";
import type { HostShell } from "../../src/ports/shell.ts";
import { memoryStore } from "./support.ts";

let lab: Lab;
before(async () => {
  lab = await startLab({ hosts: 3 });
});
after(() => lab[Symbol.asyncDispose]());

/** What ssh does in the product: a command run in the host's namespaces. */
function shellOn(host: LabHost): HostShell {
  return {
    async run(argv, { signal, stdin }) {
      const { code, stdout, stderr } = await host.exec(argv, { signal, input: stdin, check: false });
      return { code: code < 0 ? undefined : code, stdout, stderr };
    },
    async [Symbol.asyncDispose]() {},
  };
}

function source(): HostSource {
  return {
    list: () => lab.hosts.map(({ uuid, name }) => ({ id: uuid, name, state: "up" as const })),
    shell: async (hostId) => shellOn(lab.hosts.find(({ uuid }) => uuid === hostId)!),
  };
}

function networks(): Networks {
  return new Networks({ store: memoryStore(), clock: systemClock, hosts: source() });
}

/** Unplugs a host from a network at the switch, and plugs it in again on dispose. */
async function unplugged(host: string, network: NetworkName): Promise<AsyncDisposable> {
  const port = `${host}-${lab.network(network).interface.replace(/0$/, "")}`;
  const set = (state: string): Promise<unknown> => lab.namespace.run(["ip", "-n", "switch", "link", "set", port, state]);
  await set("down");
  return { [Symbol.asyncDispose]: async () => void (await set("up")) };
}

const subnetOf = (name: NetworkName): string => lab.network(name).ipv4;

function byName(all: Networks, name: NetworkName): ReturnType<Networks["get"]> {
  const found = all.list().find(({ subnets }) => subnets.includes(subnetOf(name)));
  assert.ok(found, `the network ${name} is not there`);
  return found;
}

test("real hosts: four networks, both families of one wire in one, all up, guests' bridges left out", async (t) => {
  const all = networks();
  await all.refresh({ signal: t.signal });
  assert.deepEqual(
    all.list().map(({ name, state, role, interfaces }) => ({ name, state, role, hosts: interfaces.length })),
    [1, 2, 3, 4].map((number) => ({ name: `Cluster Network ${number}`, state: "up", role: "cluster", hosts: 3 })),
  );
  assert.deepEqual(byName(all, "migration").subnets, [subnetOf("migration"), lab.network("migration").ipv6]);
  assert.deepEqual(
    all.interfaces().filter(({ state }) => state !== "up"),
    [],
  );
});

test("the same networks under the same ids for an empty store", async (t) => {
  const [first, second] = [networks(), networks()];
  await first.refresh({ signal: t.signal });
  await second.refresh({ signal: t.signal });
  assert.deepEqual(
    first.list().map(({ id, name }) => ({ id, name })),
    second.list().map(({ id, name }) => ({ id, name })),
  );
});

test("a cut link shows with the next refresh and goes when it is mended; the order falls back meanwhile", async (t) => {
  const all = networks();
  await all.refresh({ signal: t.signal });
  await all.edit(byName(all, "migration").id, { name: "LM" });
  await all.edit(byName(all, "storage").id, { name: "Storage" });
  await all.setLiveMigration({ order: ["LM", "storage"] });
  {
    await using _cut = await unplugged("charlie", "migration");
    await all.refresh({ signal: t.signal });
    assert.equal(all.get("LM").state, "partitioned");
    const states = Object.fromEntries(all.get("LM").interfaces.map(({ host, state }) => [host, state]));
    assert.deepEqual(states, { alpha: "up", bravo: "up", charlie: "failed" });
    const toCharlie = await all.verdicts("alpha", "charlie");
    assert.equal(toCharlie[0]?.network, "Storage");
    assert.match(toCharlie.find(({ network }) => network === "LM")!.reason.text, /^out: migr0 of charlie has no link/);
    assert.equal((await all.verdicts("alpha", "bravo"))[0]?.network, "LM");
  }
  await all.refresh({ signal: t.signal });
  assert.equal(all.get("LM").state, "up");
  const [chosen] = await all.verdicts("alpha", "charlie");
  assert.equal(chosen?.network, "LM");
  assert.equal(chosen?.destinationAddress, lab.host("charlie").addresses.migration);
});

test("a host that filters on the wire is unreachable although its link is up", async (t) => {
  const all = networks();
  const bravo = lab.host("bravo");
  // Its neighbours cannot find it any more: neither ARP nor an entry made before.
  await bravo.exec(["ip", "link", "set", "spar0", "arp", "off"]);
  await using _mended = { [Symbol.asyncDispose]: async () => void (await bravo.exec(["ip", "link", "set", "spar0", "arp", "on"])) };
  await lab.host("alpha").exec(["ip", "neigh", "flush", "dev", "spar0"]);
  await lab.host("charlie").exec(["ip", "neigh", "flush", "dev", "spar0"]);
  await all.refresh({ signal: t.signal });
  const spare = byName(all, "spare");
  assert.equal(spare.state, "partitioned");
  const states = Object.fromEntries(spare.interfaces.map(({ host, state }) => [host, state]));
  assert.deepEqual(states, { alpha: "up", bravo: "unreachable", charlie: "up" });
});

test("another machine with the peer's address does not pass for the peer", async (t) => {
  const all = networks();
  const { spare } = lab.host("bravo").addresses;
  const bravo = lab.host("bravo");
  // bravo claims the address but does not answer for it; charlie, unplugged from Godwit's view, does.
  await bravo.exec(["ip", "link", "set", "spar0", "arp", "off"]);
  await lab.host("charlie").exec(["ip", "addr", "add", `${spare}/32`, "dev", "spar0"]);
  await using _mended = {
    [Symbol.asyncDispose]: async () => {
      await lab.host("charlie").exec(["ip", "addr", "del", `${spare}/32`, "dev", "spar0"]);
      await bravo.exec(["ip", "link", "set", "spar0", "arp", "on"]);
    },
  };
  await lab.host("alpha").exec(["ip", "neigh", "flush", "dev", "spar0"]);
  await all.refresh({ signal: t.signal });
  assert.match(byName(all, "spare").stateReason.text, /answers at .*which is no interface of bravo/);
});

test("a bridge that every host has with the same address is no network, whatever answers on it", async (t) => {
  const all = networks();
  for (const { name } of lab.hosts) await lab.host(name).exec(["ip", "addr", "add", "192.168.122.1/24", "dev", "br-guests"]);
  await all.refresh({ signal: t.signal });
  for (const { name } of lab.hosts) await lab.host(name).exec(["ip", "addr", "del", "192.168.122.1/24", "dev", "br-guests"]);
  assert.equal(all.list().length, 4);
  assert.deepEqual(
    all.ignored().map(({ interface: name, reason }) => `${name} ${reason.code}`),
    ["br-guests internal", "br-guests internal", "br-guests internal"],
  );
});

test("counters tell which interface carried the bytes", async (t) => {
  const alpha = shellOn(lab.host("alpha"));
  const read = async (): Promise<Map<string, number>> =>
    new Map((await readCounters(alpha, t.signal)).interfaces.map(({ name, sentBytes }) => [name, sentBytes]));
  const earlier = await read();
  const to = lab.host("bravo").addresses.migration;
  // The refusal does not matter: what is sent until then is.
  const send = `for i in 1 2 3 4 5 6 7 8; do head -c 1000 /dev/zero >/dev/udp/${to}/9; done`;
  await lab.host("alpha").exec(["bash", "-c", send], { check: false });
  const later = await read();
  const sent = (name: string): number => later.get(name)! - earlier.get(name)!;
  assert.ok(sent("migr0") >= 8000, `migr0 sent ${sent("migr0")}`);
  assert.ok(sent("stor0") < 8000, `stor0 sent ${sent("stor0")}`);
});
