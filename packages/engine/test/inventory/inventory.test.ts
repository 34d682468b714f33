import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { EngineError, type HostRecord, type VmFacts } from "../../src/index.ts";
import { Inventory, type InventoryChange, type InventoryOptions } from "../../src/inventory/index.ts";
import { MemoryHosts, ScriptedMachine, vmFacts } from "./scripted-host.ts";

const quick = { connectMs: 500, hedgeMs: 300, readMs: 500, reconcileMs: 60_000, settleMs: 60_000, retryMs: [10, 40] } as const;
const record = (name: string): HostRecord => ({ id: `uuid-${name}`, name, uri: `test://${name}`, addedAt: "2026-11-24T00:00:00Z" });
const isKind =
  (kind: string, message = /./) =>
  (error: unknown) =>
    error instanceof EngineError && error.kind === kind && message.test(error.message);

interface Bench extends AsyncDisposable {
  readonly inventory: Inventory;
  readonly hosts: MemoryHosts;
  readonly signal: AbortSignal;
  machine(name: string): ScriptedMachine;
}

/** An inventory over scripted machines, all registered unless `registered` says otherwise. */
async function bench(
  t: TestContext,
  machines: Record<string, ScriptedMachine>,
  options: Partial<InventoryOptions> & { registered?: string[] } = {},
): Promise<Bench> {
  const hosts = new MemoryHosts(...(options.registered ?? Object.keys(machines)).map(record));
  const stop = new AbortController();
  const signal = AbortSignal.any([t.signal, AbortSignal.timeout(30_000)]);
  const inventory = new Inventory({
    store: { hosts },
    openHost: ({ uri }, { signal }) => machines[uri.slice("test://".length)]!.connect(signal),
    openShell: () => undefined,
    timing: quick,
    ...options,
  });
  const running = inventory.run({ signal: stop.signal });
  await inventory.started();
  return {
    inventory,
    hosts,
    signal,
    machine: (name) => machines[name]!,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      for (const machine of Object.values(machines)) assert.equal(machine.open, 0, "a connection was left open");
    },
  };
}

const machine = (name: string, ...vms: readonly VmFacts[]): ScriptedMachine => new ScriptedMachine(`uuid-${name}`, ...vms);
const isUp = (name: string) => (inventory: Inventory) => inventory.host(name).state === "up";
const isLost = (name: string) => (inventory: Inventory) => inventory.host(name).state === "lost";

test("a registered host is read: facts, VMs and counts; a change told by an event is seen without a new reading of everything", async (t) => {
  await using b = await bench(t, { alpha: machine("alpha", vmFacts("1", { state: "running" }), vmFacts("2")) });
  await b.inventory.waitFor(isUp("alpha"), b);
  const host = b.inventory.host("alpha");
  assert.deepEqual(
    [host.id, host.reason.code, host.vms, host.facts?.versions.libvirt],
    ["uuid-alpha", "connected", { total: 2, running: 1 }, "9.0.0"],
  );
  assert.deepEqual(
    b.inventory.vms().map((vm) => [vm.name, vm.state, vm.host]),
    [
      ["vm-1", "running", "alpha"],
      ["vm-2", "off", "alpha"],
    ],
  );
  b.machine("alpha").put(vmFacts("2", { state: "running" }));
  await b.inventory.waitFor((inventory) => inventory.vm("vm-2").state === "running", b);
  b.machine("alpha").delete("1");
  await b.inventory.waitFor((inventory) => inventory.vms().length === 1, b);
  assert.equal(b.machine("alpha").lists, 1);
});

test("a lost host's VMs are unknown with what was known, not gone; it comes back by itself, with what changed meanwhile", async (t) => {
  await using b = await bench(t, { alpha: machine("alpha", vmFacts("1", { state: "running" })) });
  await b.inventory.waitFor(isUp("alpha"), b);
  b.machine("alpha").refuse = new EngineError("host-lost", "connection refused");
  b.machine("alpha").cut("end of file");
  await b.inventory.waitFor(isLost("alpha"), b);
  const vm = b.inventory.vm("vm-1");
  assert.deepEqual([vm.state, vm.lastKnownState], ["unknown", "running"]);
  assert.throws(() => b.inventory.hypervisor("alpha"), isKind("host-lost", /alpha is lost: (end of file|connection refused)/));
  await assert.rejects(b.inventory.refreshVm("alpha", "1", b), isKind("host-lost"));
  await b.inventory.waitFor((inventory) => inventory.host("alpha").reason.text === "connection refused", b);
  b.machine("alpha").vms.set("1", vmFacts("1", { state: "off" }));
  b.machine("alpha").refuse = undefined;
  await b.inventory.waitFor(isUp("alpha"), b);
  assert.equal(b.inventory.vm("vm-1").state, "off");
});

test("a host that cannot be reached at first is lost with the reason, and tried again for ever", async (t) => {
  const alpha = machine("alpha");
  alpha.refuse = new EngineError("host-lost", "no route to host");
  await using b = await bench(t, { alpha });
  assert.equal(b.inventory.host("alpha").state, "connecting");
  await b.inventory.waitFor(isLost("alpha"), b);
  assert.deepEqual(b.inventory.host("alpha").reason, { code: "unreachable", text: "no route to host" });
  const often = Promise.withResolvers<void>();
  alpha.before = () => (alpha.connections > 4 ? often.resolve() : undefined);
  await often.promise;
  alpha.refuse = undefined;
  await b.inventory.waitFor(isUp("alpha"), b);
});

test("a host that holds the connection but answers nothing is lost after the deadline", async (t) => {
  const alpha = machine("alpha", vmFacts("1", { state: "running" }));
  await using b = await bench(t, { alpha });
  await b.inventory.waitFor(isUp("alpha"), b);
  const hang = Promise.withResolvers<void>();
  alpha.before = () => hang.promise;
  alpha.tell({ kind: "overflow" });
  await b.inventory.waitFor(isLost("alpha"), b);
  assert.match(b.inventory.host("alpha").reason.text, /no (answer|connection) within 0.5 s/);
  assert.equal(b.inventory.vm("1").state, "unknown");
  alpha.before = () => undefined;
  hang.resolve();
  await b.inventory.waitFor(isUp("alpha"), b);
});

test("a late answer of an old connection does not overwrite what the new one said", async (t) => {
  const alpha = machine("alpha", vmFacts("1", { state: "running" }));
  await using b = await bench(t, { alpha });
  await b.inventory.waitFor(isUp("alpha"), b);
  const late = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  alpha.before = (question) => {
    if (question !== "vm 1") return undefined;
    asked.resolve();
    return late.promise;
  };
  alpha.tell({ kind: "vm-changed", vmId: "1" }); // The old connection will say "running", too late.
  await asked.promise;
  alpha.before = () => undefined;
  alpha.vms.set("1", vmFacts("1", { state: "off" }));
  alpha.cut("killed");
  await b.inventory.waitFor((inventory) => inventory.host("alpha").state === "up" && inventory.vm("1").state === "off", b);
  late.resolve();
  await b.inventory.refreshVm("alpha", "1", b);
  assert.equal(b.inventory.vm("1").state, "off");
});

test("an attempt that hangs is joined by another; whichever opens too late is closed again", async (t) => {
  const alpha = machine("alpha");
  const hang = Promise.withResolvers<void>();
  alpha.before = (question) => (question === "connect" && alpha.connections === 1 ? hang.promise : undefined);
  await using b = await bench(t, { alpha }, { timing: { ...quick, connectMs: 60_000, hedgeMs: 20 } });
  await b.inventory.waitFor(isUp("alpha"), b);
  assert.equal(alpha.connections, 2);
  hang.resolve();
  await b.inventory.refreshVm("alpha", "1", b);
  assert.equal(alpha.open, 1);
});

test("events that overflow, and those that are never told, are made up for by reading everything", async (t) => {
  const alpha = machine("alpha", vmFacts("1"));
  await using b = await bench(t, { alpha }, { timing: { ...quick, reconcileMs: 50 } });
  await b.inventory.waitFor(isUp("alpha"), b);
  alpha.vms.set("2", vmFacts("2"));
  await b.inventory.waitFor((inventory) => inventory.vms().length === 2, b);
  alpha.vms.delete("1");
  alpha.tell({ kind: "overflow" });
  await b.inventory.waitFor((inventory) => inventory.vms().length === 1, b);
});

test("a VM that changes again and again is read at once, then once for all that came soon after", async (t) => {
  const alpha = machine("alpha", vmFacts("1"));
  await using b = await bench(t, { alpha });
  await b.inventory.waitFor(isUp("alpha"), b);
  let reads = 0;
  alpha.before = (question) => void (reads += question === "vm 1" ? 1 : 0);
  alpha.put(vmFacts("1", { state: "running" }));
  await b.inventory.waitFor((inventory) => inventory.vm("1").state === "running", b);
  for (const state of ["paused", "running", "paused", "running", "off"] as const) {
    alpha.put(vmFacts("1", { state }));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await b.inventory.waitFor((inventory) => inventory.vm("1").state === "off", b);
  assert.equal(reads, 2);
});

test("another machine under the same address is not taken for the host", async (t) => {
  const alpha = machine("alpha", vmFacts("1", { state: "running" }));
  const impostor = machine("impostor", vmFacts("9"));
  const machines = { alpha };
  await using b = await bench(t, machines);
  await b.inventory.waitFor(isUp("alpha"), b);
  machines.alpha = impostor;
  alpha.cut("replaced");
  await b.inventory.waitFor((inventory) => inventory.host("alpha").reason.code === "other-machine", b);
  assert.deepEqual(
    b.inventory.vms().map((vm) => [vm.id, vm.state]),
    [["1", "unknown"]],
  );
  assert.equal(impostor.open, 0);
});

test("a VM during a migration is one VM: the running copy counts, not the one that is coming in", async (t) => {
  const [alpha, beta] = [machine("alpha", vmFacts("1", { state: "running" })), machine("beta")];
  await using b = await bench(t, { alpha, beta });
  await b.inventory.waitFor((inventory) => isUp("alpha")(inventory) && isUp("beta")(inventory), b);
  beta.put(vmFacts("1", { state: "paused", persistent: false }));
  await b.inventory.waitFor((inventory) => inventory.host("beta").vms.total === 1, b);
  assert.deepEqual(
    b.inventory.vms().map((vm) => [vm.host, vm.state]),
    [["alpha", "running"]],
  );
  alpha.put(vmFacts("1", { state: "paused" }));
  await b.inventory.refreshVm("alpha", "1", b);
  assert.deepEqual(
    b.inventory.vms().map((vm) => [vm.host, vm.state]),
    [["alpha", "paused"]],
  );
  beta.put(vmFacts("1", { state: "running" }));
  await b.inventory.waitFor((inventory) => inventory.vm("1").host === "beta", b);
  alpha.delete("1");
  await b.inventory.waitFor((inventory) => inventory.host("alpha").vms.total === 0, b);
  assert.deepEqual(
    b.inventory.vms().map((vm) => [vm.host, vm.state]),
    [["beta", "running"]],
  );
});

test("two copies are reported only after both hosts were asked; an old answer is no second copy", async (t) => {
  const [alpha, beta] = [machine("alpha", vmFacts("1", { state: "running" })), machine("beta")];
  await using b = await bench(t, { alpha, beta });
  await b.inventory.waitFor((inventory) => isUp("alpha")(inventory) && isUp("beta")(inventory), b);
  const seen: string[] = [];
  const watching = new AbortController();
  const watcher = (async () => {
    for await (const _ of b.inventory.changes({ signal: watching.signal }))
      seen.push(...b.inventory.conflicts().map((conflict) => conflict.vmId));
  })().catch(() => undefined);
  alpha.vms.set("1", vmFacts("1", { state: "off" })); // It has stopped there, but nobody told yet.
  beta.put(vmFacts("1", { state: "running" }));
  await b.inventory.waitFor((inventory) => inventory.vm("1").host === "beta" && inventory.host("alpha").vms.running === 0, b);
  assert.deepEqual(seen, []);
  alpha.put(vmFacts("1", { state: "running" }));
  await b.inventory.waitFor((inventory) => inventory.conflicts().length === 1, b);
  assert.deepEqual(
    b.inventory
      .vms()
      .map((vm) => vm.host)
      .sort(),
    ["alpha", "beta"],
  );
  assert.throws(() => b.inventory.vm("vm-1"), isKind("ambiguous", /runs on several hosts at once.*alpha\/vm-1, beta\/vm-1/));
  assert.equal(b.inventory.vm("alpha/vm-1").host, "alpha");
  watching.abort();
  await watcher;
});

test("a VM whose host is lost while it ran is unknown, though another host has it defined and off", async (t) => {
  const [alpha, beta] = [machine("alpha", vmFacts("1", { state: "running" })), machine("beta", vmFacts("1"))];
  await using b = await bench(t, { alpha, beta });
  await b.inventory.waitFor((inventory) => isUp("alpha")(inventory) && isUp("beta")(inventory), b);
  alpha.refuse = new EngineError("host-lost", "gone");
  alpha.cut("gone");
  await b.inventory.waitFor(isLost("alpha"), b);
  assert.deepEqual(
    b.inventory.vms().map((vm) => [vm.host, vm.state, vm.lastKnownState]),
    [["alpha", "unknown", "running"]],
  );
  beta.put(vmFacts("1", { state: "running" }));
  await b.inventory.waitFor((inventory) => inventory.vm("1").host === "beta", b);
  assert.deepEqual(b.inventory.conflicts(), []);
});

test("names: an id or a name finds a VM; one that several VMs have is refused with the candidates", async (t) => {
  const [alpha, beta] = [machine("alpha", vmFacts("1", { name: "web" })), machine("beta", vmFacts("2", { name: "web" }))];
  await using b = await bench(t, { alpha, beta });
  await b.inventory.waitFor((inventory) => inventory.vms().length === 2, b);
  assert.throws(() => b.inventory.vm("web"), isKind("ambiguous", /alpha\/web, beta\/web/));
  assert.equal(b.inventory.vm("beta/web").id, "2");
  assert.equal(b.inventory.vm("1").host, "alpha");
  assert.throws(() => b.inventory.vm("nope"), isKind("not-found", /no VM nope/));
  assert.throws(() => b.inventory.host("gamma"), isKind("not-found", /no host gamma; there are alpha, beta/));
});

test("a host is added after it answered, and then kept; while another one hangs", async (t) => {
  const [alpha, beta] = [machine("alpha"), machine("beta", vmFacts("1"))];
  const hang = Promise.withResolvers<void>();
  alpha.before = () => hang.promise;
  await using b = await bench(t, { alpha, beta }, { registered: [] });
  const slow = b.inventory.addHost({ name: "alpha", uri: "test://alpha" }, b);
  const view = await b.inventory.addHost({ name: "beta", uri: "test://beta" }, b);
  assert.deepEqual([view.state, view.id, view.vms.total], ["up", "uuid-beta", 1]);
  assert.equal(beta.connections, 1);
  assert.equal(b.hosts.records.get("uuid-beta")?.name, "beta");
  await assert.rejects(slow, isKind("host-lost", /host alpha was not added: test:\/\/alpha cannot be used; try it with: virsh/));
  assert.equal(b.hosts.records.size, 1);
  hang.resolve();
});

test("a host is refused when its name or machine is taken, when it is out of reach, or when the store fails: nothing stays", async (t) => {
  const [alpha, beta] = [machine("alpha"), machine("beta")];
  const machines = { alpha, beta, twin: machine("alpha") };
  await using b = await bench(t, machines, { registered: ["alpha"] });
  await b.inventory.waitFor(isUp("alpha"), b);
  const add = (name: string, on: string): Promise<unknown> => b.inventory.addHost({ name, uri: `test://${on}` }, b);
  await assert.rejects(add("alpha", "beta"), isKind("conflict", /a host alpha is registered already.*choose another name/));
  await assert.rejects(add("twin", "twin"), isKind("conflict", /this machine .* is registered already, as alpha .*host_uuid/));
  beta.refuse = new EngineError("host-lost", "permission denied");
  await assert.rejects(add("beta", "beta"), isKind("host-lost", /not added/));
  beta.refuse = undefined;
  b.hosts.fail = new Error("disk full");
  await assert.rejects(add("beta", "beta"), /disk full/);
  b.hosts.fail = undefined;
  const twice = await Promise.allSettled([add("beta", "beta"), add("gamma", "beta")]);
  assert.deepEqual(twice.map((result) => result.status).sort(), ["fulfilled", "rejected"]);
  assert.deepEqual(b.inventory.hosts().length, 2);
  assert.equal(machines.twin.open, 0);
});

test("a host is removed with its VMs, unless the hook objects", async (t) => {
  let busy = true;
  const mayRemove = (): void => {
    if (busy) throw new EngineError("conflict", "a migration uses it");
  };
  const alpha = machine("alpha", vmFacts("1"));
  await using b = await bench(t, { alpha, beta: machine("beta") }, { mayRemove });
  await b.inventory.waitFor((inventory) => isUp("alpha")(inventory) && isUp("beta")(inventory), b);
  await assert.rejects(b.inventory.removeHost("alpha"), isKind("conflict", /a migration uses it/));
  assert.equal(b.inventory.hosts().length, 2);
  busy = false;
  await b.inventory.removeHost("alpha");
  assert.deepEqual(
    [b.inventory.hosts().map((host) => host.name), b.inventory.vms(), [...b.hosts.records.keys()]],
    [["beta"], [], ["uuid-beta"]],
  );
  assert.equal(alpha.open, 0);
});

test("changes name what to look at; a subscriber that does not read is told that it missed some", async (t) => {
  const alpha = machine("alpha", vmFacts("1"));
  await using b = await bench(t, { alpha });
  const stop = new AbortController();
  const changes = b.inventory.changes({ signal: stop.signal })[Symbol.asyncIterator]();
  const sleeper = b.inventory.changes({ signal: stop.signal })[Symbol.asyncIterator]();
  await b.inventory.waitFor(isUp("alpha"), b);
  const until = async (kind: InventoryChange["kind"]): Promise<InventoryChange> => {
    for (;;) {
      const { value } = await changes.next();
      if ((value as InventoryChange).kind === kind) return value as InventoryChange;
    }
  };
  assert.deepEqual(await until("vm"), { kind: "vm", vmId: "1" });
  alpha.delete("1");
  assert.deepEqual(await until("vm-removed"), { kind: "vm-removed", vmId: "1" });
  for (let round = 0; round < 5000; round += 1) {
    alpha.vms.set("1", vmFacts("1", { vcpus: round }));
    if (round % 100 === 0) await b.inventory.refreshVm("alpha", "1", b);
    else b.machine("alpha").vms.set(`${round}`, vmFacts(`x${round}`));
  }
  alpha.tell({ kind: "overflow" });
  await b.inventory.waitFor((inventory) => inventory.vms().length > 4900, b);
  const kinds = new Set<string>();
  for (let read = 0; read < 4097; read += 1) kinds.add(((await sleeper.next()).value as InventoryChange).kind);
  assert.ok(kinds.has("overflow"));
  stop.abort(new Error("enough"));
  await assert.rejects(async () => {
    for (;;) await changes.next();
  }, /enough/);
});

test("property: whatever two hosts say and whenever they vanish, a VM is never shown running on a host that does not say so", async (t) => {
  const [alpha, beta] = [machine("alpha"), machine("beta")];
  await using b = await bench(t, { alpha, beta });
  await b.inventory.waitFor((inventory) => isUp("alpha")(inventory) && isUp("beta")(inventory), b);
  let state = 7;
  const random = (below: number): number => (state = (state * 48_271) % 0x7fff_ffff) % below;
  for (let step = 0; step < 120; step += 1) {
    const host = random(2) === 0 ? alpha : beta;
    const states = ["running", "paused", "off"] as const;
    if (random(10) === 0) host.cut("cut");
    else if (random(4) === 0) host.delete("1");
    else host.put(vmFacts("1", { state: states[random(3)]!, persistent: random(2) === 0 }));
    await b.inventory.waitFor((inventory) => inventory.hosts().every((view) => view.state === "up"), b);
    await Promise.all(["alpha", "beta"].map((name) => b.inventory.refreshVm(name, "1", b).catch(() => undefined)));
    await b.inventory.waitFor((inventory) => inventory.hosts().every((view) => view.state === "up"), b);
    const running = [alpha, beta].filter((machine) => machine.vms.get("1")?.state === "running").map((machine) => machine.uuid);
    const shown = b.inventory
      .vms()
      .filter((vm) => vm.state === "running")
      .map((vm) => vm.hostId);
    assert.ok(
      shown.every((id) => running.includes(id)),
      `step ${step}: shown on ${shown.join()}, runs on ${running.join()}`,
    );
    if (running.length > 0) assert.ok(shown.length > 0, `step ${step}: runs on ${running.join()}, but is not shown running`);
  }
});
