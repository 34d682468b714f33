import assert from "node:assert/strict";
import { test } from "node:test";
import { type Clock, CancelledError, systemClock } from "@godwit/core";
import { Coalesced } from "../../src/network/coalesce.ts";
import { inventoryHosts } from "../../src/network/inventory-hosts.ts";
import type { HostView } from "../../src/model/host.ts";
import { Networks, type NetworkChange } from "../../src/network/service.ts";
import { ScriptedHosts } from "./scripted-hosts.ts";
import { memoryStore } from "./support.ts";

function service(
  hosts = new ScriptedHosts(),
  clock: Clock = systemClock,
): { hosts: ScriptedHosts; networks: Networks; store: ReturnType<typeof memoryStore> } {
  const store = memoryStore();
  return { hosts, store, networks: new Networks({ store, clock, hosts }) };
}

test("a refresh finds the networks, closes its shells, and writes records once", async (t) => {
  const { hosts, networks, store } = service();
  await networks.refresh({ signal: t.signal });
  await networks.refresh({ signal: t.signal });
  assert.deepEqual(
    networks.list().map(({ name, state }) => `${name} ${state}`),
    ["Cluster Network 1 up", "Cluster Network 2 up"],
  );
  assert.deepEqual([hosts.opened, hosts.disposed], [4, 4]);
  assert.equal(store.networks.writes, 2);
  assert.deepEqual(
    networks.interfaces({ hostId: "id-bravo" }).map((row) => row.interface),
    ["eth0", "eth1"],
  );
  assert.throws(() => networks.get("LM"), { kind: "not-found" });
});

test("edits show at once without looking at the hosts again, by id or name", async (t) => {
  const { hosts, networks } = service();
  await networks.refresh({ signal: t.signal });
  const before = hosts.opened;
  const edited = await networks.edit("cluster network 2", { name: "LM", metric: 7, description: "fast" });
  assert.deepEqual([edited.name, edited.metric, edited.autoMetric, edited.interfaces[0]?.network], ["LM", 7, false, "LM"]);
  await networks.setLiveMigration({ order: ["lm"] });
  assert.deepEqual((await networks.liveMigration()).order, [edited.id]);
  assert.equal((await networks.verdicts("alpha", "id-bravo"))[0]?.network, "LM");
  await assert.rejects(networks.verdicts("alpha", "zulu"), { kind: "not-found" });
  await networks.edit("LM", { role: "none" });
  await assert.rejects(networks.edit("Cluster Network 1", { role: "none" }), { kind: "refused" });
  assert.equal(hosts.opened, before);
});

test("a host that is lost, or tells nothing, keeps its last facts and is shown so", async (t) => {
  const { hosts, networks } = service();
  await networks.refresh({ signal: t.signal });
  hosts.hosts[1] = { id: "id-bravo", name: "bravo", state: "lost", reason: "keepalive" };
  await networks.refresh({ signal: t.signal });
  const row = networks.interfaces({ hostId: "id-bravo" })[0];
  assert.deepEqual([row?.state, row?.reason.text, row?.addresses], ["unavailable", "bravo is lost: keepalive", ["10.0.0.2/24"]]);
  hosts.hosts[1] = { id: "id-bravo", name: "bravo", state: "up" };
  hosts.broken = new Error("connection refused");
  await networks.refresh({ signal: t.signal });
  assert.deepEqual(
    networks.interfaces().map(({ state }) => state),
    ["unknown", "unknown", "unknown", "unknown"],
  );
  assert.match(networks.interfaces()[0]!.reason.text, /network facts of alpha: connection refused/);
});

test("migration networks of a host, and what it decided, by host name", async () => {
  const { networks } = service();
  await networks.migrationNetworks.add("bravo", { subnet: "10.0.1.0/24", priority: 3 });
  await networks.migrationNetworks.add("alpha", { subnet: "fd00::/64" });
  assert.deepEqual(
    (await networks.migrationNetworks.list()).map(({ host, subnet, priority, managedBy }) => `${host} ${subnet} ${priority} ${managedBy}`),
    ["alpha fd00::/64 0 admin", "bravo 10.0.1.0/24 3 admin"],
  );
  assert.equal((await networks.migrationNetworks.list({ subnet: "10.*", priority: 3 })).length, 1);
  const [changed] = await networks.migrationNetworks.set("bravo", { subnet: "10.*", newPriority: 1 });
  assert.equal(changed?.priority, 1);
  await networks.setHostMigration("bravo", { maximumLiveMigrations: 5 });
  assert.deepEqual((await networks.hostMigration("id-bravo")).maximumLiveMigrations, 5);
  assert.equal((await networks.migrationNetworks.remove("bravo", "10.0.1.0/24")).length, 1);
});

test("changes tell what to read again, and end with their signal", async (t) => {
  const { networks } = service();
  const stop = new AbortController();
  const seen: NetworkChange[] = [];
  const watching = (async () => {
    for await (const change of networks.changes({ signal: stop.signal })) seen.push(change);
  })();
  await networks.refresh({ signal: t.signal });
  await networks.refresh({ signal: t.signal });
  await networks.setLiveMigration({ exclude: [] });
  await networks.setHostMigration("alpha", { useAnyNetwork: true });
  stop.abort();
  await watching;
  assert.deepEqual(seen, [{ kind: "networks" }, { kind: "live-migration" }, { kind: "host-migration", hostId: "id-alpha" }]);
});

test("run looks at once, again on a nudge and after the interval, and ends with its signal", async () => {
  const sleeps: (() => void)[] = [];
  const slept: number[] = [];
  let asked = Promise.withResolvers<void>();
  const clock: Clock = {
    ...systemClock,
    sleep: (ms) => {
      slept.push(ms);
      asked.resolve();
      asked = Promise.withResolvers();
      return new Promise((resolve) => void sleeps.push(resolve));
    },
  };
  const { hosts, networks } = service(new ScriptedHosts(), clock);
  const stop = new AbortController();
  let pausing = asked.promise;
  const running = networks.run({ signal: stop.signal });
  await pausing;
  assert.deepEqual([hosts.opened, slept], [2, [30_000]]);
  pausing = asked.promise;
  networks.nudge();
  await pausing;
  assert.equal(hosts.opened, 4);
  pausing = asked.promise;
  sleeps.at(-1)!();
  await pausing;
  assert.equal(hosts.opened, 6);
  stop.abort(new CancelledError());
  await running;
});

test("a shell that opens after the caller left is closed", async () => {
  const { hosts, networks } = service();
  const gate = Promise.withResolvers<void>();
  hosts.gate = gate.promise;
  const stop = new AbortController();
  const refreshing = networks.refresh({ signal: stop.signal });
  stop.abort(new CancelledError());
  await assert.rejects(refreshing, { kind: "cancelled" });
  gate.resolve();
  hosts.gate = Promise.resolve();
  await networks.refresh({ signal: new AbortController().signal });
  assert.equal(hosts.opened, hosts.disposed);
});

test("coalesced: who asks during a run shares the next one; a run nobody waits for is aborted", async () => {
  const gates: PromiseWithResolvers<void>[] = [];
  const aborted: boolean[] = [];
  const runs = new Coalesced(async (signal) => {
    const run = gates.length;
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    signal.addEventListener("abort", () => {
      aborted[run] = true;
      gate.reject(signal.reason);
    });
    await gate.promise;
    return run;
  });
  const never = new AbortController().signal;
  const first = runs.run(never);
  while (gates.length < 1) await new Promise((resolve) => setImmediate(resolve));
  const [second, third] = [runs.run(never), runs.run(never)];
  const leaving = new AbortController();
  const left = runs.run(leaving.signal);
  leaving.abort(new CancelledError());
  await assert.rejects(left, { kind: "cancelled" });
  gates[0]!.resolve();
  assert.equal(await first, 0);
  while (gates.length < 2) await new Promise((resolve) => setImmediate(resolve));
  gates[1]!.resolve();
  assert.deepEqual(await Promise.all([second, third]), [1, 1]);

  const alone = new AbortController();
  const lonely = runs.run(alone.signal);
  while (gates.length < 3) await new Promise((resolve) => setImmediate(resolve));
  alone.abort(new CancelledError());
  await assert.rejects(lonely, { kind: "cancelled" });
  assert.equal(aborted[2], true);
  assert.deepEqual([aborted[0], aborted[1]], [undefined, undefined]);
});

test("an inventory's hosts, with the port of their sshd, and shells that are only borrowed", async (t) => {
  const scripted = new ScriptedHosts();
  const shell = await scripted.shell("id-alpha");
  const view = (name: string, uri: string): HostView => ({
    id: `id-${name}`,
    name,
    uri,
    state: "up",
    stateSince: "",
    reason: { code: "up", text: "it answers" },
    vms: { total: 0, running: 0 },
  });
  const source = inventoryHosts({
    hosts: () => [view("alpha", "qemu+ssh://root@alpha:2222/system"), view("bravo", "qemu+tls://bravo:16514/system")],
    shell: () => shell,
  });
  assert.deepEqual(
    [...(await source.list())].map(({ name, sshPort }) => [name, sshPort]),
    [
      ["alpha", 2222],
      ["bravo", undefined],
    ],
  );
  {
    await using borrowed = await source.shell("id-alpha", { signal: t.signal });
    assert.equal((await borrowed.run(["sh"], { signal: t.signal })).code, 0);
  }
  assert.equal(scripted.disposed, 0);
});
