import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { promisify } from "node:util";
import { type Lab, type LabGuest, type LabHost, startLab } from "@godwit/lab";
import { AccelerationProber, openLibvirtHost } from "../../src/adapters/libvirt/index.ts";
import { shellOf } from "../../src/adapters/ssh/index.ts";
import { EngineError, type HostRecord } from "../../src/index.ts";
import { Inventory, noLog } from "../../src/inventory/index.ts";
import { MemoryHosts } from "./scripted-host.ts";

const run = promisify(execFile);

let lab: Lab;
let alpha: LabHost;
let bravo: LabHost;
let guest: LabGuest;
before(async () => {
  lab = await startLab({ hosts: 2 });
  [alpha, bravo] = [lab.host("alpha"), lab.host("bravo")];
  guest = await lab.createGuest({ name: "web", host: alpha, workload: false });
});
after(() => lab[Symbol.asyncDispose]());

const prober = new AccelerationProber();
let inventory: Inventory;
let stop: AbortController;
let running: Promise<void>;
let stored: MemoryHosts;

function startInventory(...records: readonly HostRecord[]): void {
  stop = new AbortController();
  stored = new MemoryHosts(...records);
  inventory = new Inventory({
    store: { hosts: stored },
    openHost: (record, options) => openLibvirtHost({ record, ...options, prober, log: noLog }),
    openShell: shellOf,
    timing: { settleMs: 1000 },
  });
  running = inventory.run({ signal: stop.signal });
}

const record = (host: LabHost): HostRecord => ({ id: host.uuid, name: host.name, uri: lab.uri(host), addedAt: new Date().toISOString() });

beforeEach(() => startInventory(...lab.hosts.map(record)));
afterEach(async () => {
  stop.abort();
  await running;
});

/** What is seen, and that it was seen within so many seconds; those in which the machine stood still for us do not count. */
async function within<T>(seconds: number, what: string, look: (inventory: Inventory) => T | undefined | false): Promise<T> {
  const late = new AbortController();
  let ticks = 0;
  const clock = setInterval(() => void ((ticks += 1) < seconds * 20 || late.abort()), 50);
  try {
    return await inventory.waitFor(look, { signal: late.signal });
  } catch (error) {
    const seen = JSON.stringify([
      inventory.hosts().map(({ name, state, reason }) => [name, state, reason.text]),
      inventory.vms().map(({ name, state, host }) => [name, state, host]),
    ]);
    throw late.signal.aborted ? new Error(`not within ${seconds} s: ${what}; instead ${seen}`, { cause: error }) : error;
  } finally {
    clearInterval(clock);
  }
}
const allUp = (inventory: Inventory): boolean => inventory.hosts().length === 2 && inventory.hosts().every((host) => host.state === "up");
const isState = (host: LabHost, state: string) => (inventory: Inventory) => inventory.host(host.name).state === state;
const webIs = (state: string) => (inventory: Inventory) => inventory.vms().some((vm) => vm.name === "web" && vm.state === state);

test("hosts are added over SSH with their facts; the same machine twice, a wrong key and a dead address are refused", async () => {
  stop.abort();
  await running;
  startInventory();
  const signal = AbortSignal.timeout(60_000);
  const added = await Promise.all(lab.hosts.map((host) => inventory.addHost({ name: host.name, uri: lab.uri(host) }, { signal })));
  for (const [at, host] of lab.hosts.entries()) {
    const view = added[at]!;
    assert.deepEqual([view.id, view.name, view.state, view.facts?.uuid], [host.uuid, host.name, "up", host.uuid]);
    assert.equal(view.facts?.hostname, host.fullName);
    assert.deepEqual(view.facts.capabilities.migrationTransports.includes("tcp"), true);
    assert.ok(view.facts.cpu.features.includes("sse2"));
  }
  await within(10, "kernel, system and acceleration from the shell", () =>
    inventory.hosts().every(({ facts }) => facts?.versions.kernel !== undefined && facts.acceleration.evidence !== "none"),
  );
  const kernel = (await alpha.exec(["uname", "-r"])).stdout.trim();
  assert.equal(inventory.host("alpha").facts?.versions.kernel, kernel);
  assert.deepEqual(
    inventory.pools().map((pool) => `${pool.host}/${pool.name}`),
    ["alpha/local", "alpha/shared", "bravo/local", "bravo/shared"],
  );
  assert.equal(stored.records.size, 2);
  const refusal = async (uri: string, kind: string, message: RegExp): Promise<void> => {
    await assert.rejects(
      inventory.addHost({ name: "again", uri }, { signal }),
      (error) => error instanceof EngineError && error.kind === kind && message.test(error.message),
    );
  };
  await refusal(lab.tlsUri(alpha), "conflict", /registered already, as alpha/);
  await refusal(lab.uri(alpha).replace(/known_hosts=[^&]*/, "known_hosts=%2Fdev%2Fnull"), "host-lost", /again was not added/);
  await refusal(lab.uri(alpha).replace("root@", "nobody@"), "host-lost", /again was not added/);
  assert.equal(inventory.hosts().length, 2);
});

test("a guest that starts, connects its agent, is stopped, defined or undefined by others is seen within 2 s", async () => {
  await within(20, "both hosts up", allUp);
  assert.equal(inventory.vm("web").state, "off");
  await guest.start();
  await within(2, "web running", webIs("running"));
  const vm = inventory.vm("web");
  assert.deepEqual([vm.host, vm.persistent, vm.disks[0]?.format], ["alpha", true, "qcow2"]);
  assert.ok(vm.disks[0]!.capacityBytes! > 0);
  await within(60, "the agent connected", () => inventory.vm("web").agent === "connected");
  await guest.destroy(alpha);
  await within(2, "web off", webIs("off"));
  assert.equal(inventory.vm("web").agent, "disconnected");
  const xml = (name: string): string =>
    `<domain type='qemu'><name>${name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>`;
  await bravo.define(xml("behind-our-back"));
  await within(2, "a VM that somebody defined", () => inventory.vms().some((vm) => vm.name === "behind-our-back" && vm.host === "bravo"));
  await bravo.virsh(["undefine", "behind-our-back"]);
  await within(2, "that VM gone", () => !inventory.vms().some((vm) => vm.name === "behind-our-back"));
});

test("Godwit starts, shuts and turns off a VM", async () => {
  await within(20, "both hosts up", allUp);
  const signal = AbortSignal.timeout(60_000);
  const { id, hostId } = inventory.vm("web");
  await inventory.hypervisor(hostId).start(id, { signal });
  await within(20, "web running", webIs("running"));
  await assert.rejects(
    inventory.hypervisor(hostId).start(id, { signal }),
    (error) => error instanceof EngineError && error.kind === "hypervisor",
  );
  await inventory.hypervisor(hostId).turnOff(id, { signal });
  await within(20, "web off", webIs("off"));
  assert.equal((await inventory.refreshVm(hostId, id, { signal }))?.state, "off");
});

test("libvirtd killed: lost and the VM unknown at once, up again with the same VM when it is back", async () => {
  await within(20, "both hosts up", allUp);
  await guest.start();
  await within(20, "web running", webIs("running"));
  await lab.faults.killLibvirtd(alpha);
  await within(10, "alpha lost", isState(alpha, "lost"));
  assert.deepEqual(
    [inventory.vm("web").state, inventory.vm("web").lastKnownState, inventory.host("bravo").state],
    ["unknown", "running", "up"],
  );
  await lab.faults.startLibvirtd(alpha);
  await within(30, "alpha up", isState(alpha, "up"));
  assert.deepEqual([inventory.vm("web").state, inventory.vm("web").id], ["running", guest.record.uuid]);
  await guest.destroy(alpha);
});

test("a link that is cut silently is noticed within 10 s, and its mending within 10 s", async () => {
  await within(20, "both hosts up", allUp);
  await lab.faults.cutLink(bravo, "management");
  await within(10, "bravo lost", isState(bravo, "lost"));
  assert.match(inventory.host("bravo").reason.text, /lost|no sign of life/);
  await lab.faults.restoreLink(bravo, "management");
  await within(10, "bravo up", isState(bravo, "up"));
});

test("a host that hangs is lost within 10 s, and back when it goes on", async () => {
  await within(20, "both hosts up", allUp);
  await lab.faults.freezeHost(bravo);
  try {
    await within(10, "bravo lost", isState(bravo, "lost"));
  } finally {
    await lab.faults.thawHost(bravo);
  }
  await within(10, "bravo up", isState(bravo, "up"));
});

test("a host that crashes is lost within 10 s with its VM unknown; after its boot the VM is off", async () => {
  await within(20, "both hosts up", allUp);
  await guest.start();
  await within(20, "web running", webIs("running"));
  await lab.faults.crashHost(alpha);
  await within(10, "alpha lost", isState(alpha, "lost"));
  assert.deepEqual([inventory.vm("web").state, inventory.vm("web").lastKnownState], ["unknown", "running"]);
  await alpha.boot();
  // The lab gives a booted host new MAC addresses, which no real machine has, so that this machine looks for the old ones.
  await run("ip", ["neigh", "flush", "to", alpha.addresses.management]);
  await within(30, "alpha up", isState(alpha, "up"));
  assert.equal(inventory.vm("web").state, "off");
});

test("a host's shell: commands with input, bounded output, one session that opens again after sshd was restarted", async () => {
  await within(20, "both hosts up", allUp);
  const shell = inventory.shell("alpha");
  const signal = AbortSignal.timeout(30_000);
  const said = await shell.run(["sh", "-c", 'cat; echo "$1" >&2; exit 3', "sh", "it's $HOME"], { signal, stdin: "in" });
  assert.deepEqual(said, { code: 3, stdout: "in", stderr: "it's $HOME\n" });
  assert.equal((await shell.run(["no-such-command"], { signal })).code, 127);
  await assert.rejects(shell.run(["head", "-c", "2000000", "/dev/zero"], { signal }), /more than 1048576 bytes/);
  const stopping = new AbortController();
  const sleeping = shell.run(["sleep", "1000"], { signal: stopping.signal });
  stopping.abort(new Error("enough"));
  await assert.rejects(sleeping, /enough/);
  await lab.faults.stopSshd(alpha);
  await within(10, "alpha lost", isState(alpha, "lost"));
  await assert.rejects(shell.run(["true"], { signal }), (error) => error instanceof EngineError && error.kind === "host-lost");
  await lab.faults.startSshd(alpha);
  assert.equal((await shell.run(["hostname"], { signal })).stdout.trim(), (await alpha.exec(["hostname"])).stdout.trim());
  await within(30, "alpha up", isState(alpha, "up"));
});
