import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chown } from "node:fs/promises";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { runTestGuest } from "../../../src/adapters/libvirt/acceleration.ts";
import { type LibvirtHost, openLibvirtHost } from "../../../src/adapters/libvirt/index.ts";
import { openLocalShell } from "../../../src/adapters/ssh/index.ts";
import { EngineError, type HostShell } from "../../../src/index.ts";
import { noLog } from "../../../src/inventory/index.ts";
import { hypervisorContract } from "../hypervisor-contract.ts";
import { PrivateLibvirtd } from "./private-libvirtd.ts";

const run = promisify(execFile);
const qemu = "qemu:///session";
const vmId = "6f1f1a2b-0000-4000-8000-000000000001";
const tiny = (name: string, uuid: string, devices = ""): string => `<domain type='qemu'><name>${name}</name><uuid>${uuid}</uuid>
  <memory unit='MiB'>24</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><cpu mode='custom'><model>qemu64</model></cpu>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/><memballoon model='none'/>
  <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>${devices}</devices></domain>`;

let daemon: PrivateLibvirtd;
before(async () => {
  daemon = await PrivateLibvirtd.start();
});
after(() => daemon[Symbol.asyncDispose]());

const open = (driver: string, more: { shell?: HostShell } = {}): Promise<LibvirtHost> =>
  openLibvirtHost({ record: { name: "here", uri: daemon.uri(driver) }, signal: AbortSignal.timeout(15_000), log: noLog, ...more });

hypervisorContract("test driver", async () => {
  // From a file, each connection has a state of its own; state 5 is off.
  const domain = `<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>one</name><uuid>${vmId}</uuid>
    <memory>1024</memory><os><type>hvm</type></os><test:runstate>5</test:runstate></domain>`;
  const host = await open(`test://${await daemon.file("node.xml", `<node>${domain}</node>`)}`);
  return { host, vmId, [Symbol.asyncDispose]: () => host[Symbol.asyncDispose]() };
});

hypervisorContract("QEMU driver", async () => {
  await daemon.virsh(qemu, "define", await daemon.file("tiny.xml", tiny("tiny", vmId)));
  const host = await open(qemu);
  return {
    host,
    vmId,
    async [Symbol.asyncDispose]() {
      await host[Symbol.asyncDispose]();
      await daemon.virsh(qemu, "destroy", vmId).catch(() => undefined);
      await daemon.virsh(qemu, "undefine", vmId);
    },
  };
});

test("facts of a real host: processor, memory, versions, machines; the kernel and the system by its shell", async (t) => {
  await using shell = openLocalShell();
  await using host = await open(qemu, { shell });
  const { signal } = t;
  const facts = await host.facts({ signal });
  assert.equal(facts.cpu.arch, "x86_64");
  assert.ok(facts.cpu.features.includes("sse2") && facts.cpu.features.includes("cx16"), "the host model is not expanded");
  assert.ok(!facts.cpu.features.includes("rdseed") || facts.acceleration.kind === "kvm");
  assert.match(facts.versions.libvirt, /^\d+\.\d+\.\d+$/);
  assert.match(facts.versions.hypervisor ?? "", /^QEMU \d+\.\d+\.\d+$/);
  assert.ok(facts.capabilities.machines.includes("q35") && facts.capabilities.domainTypes.includes("qemu"));
  assert.deepEqual([facts.capabilities.live, facts.capabilities.migrationTransports.includes("tcp")], [true, true]);
  assert.ok(facts.freeMemoryBytes! > 0 && facts.freeMemoryBytes! < facts.memoryBytes);
  for (let seen = facts; seen.versions.kernel === undefined; seen = await host.facts({ signal })) signal.throwIfAborted();
  const later = await host.facts({ signal });
  assert.match(later.versions.kernel ?? "", /^\d+\.\d+/);
  assert.ok(later.versions.os !== undefined);
  assert.notEqual(later.acceleration.evidence, "none");
});

test("the test guest of the acceleration probe really runs: under TCG it comes to its end", async (t) => {
  await using shell = openLocalShell();
  assert.equal((await runTestGuest(shell, "/usr/bin/qemu-system-x86_64", "tcg", t.signal)).code, 43);
});

test("a VM's disks, chain, NICs and agent are read; sizes come with the statistics", async (t) => {
  const { signal } = t;
  const base = `${daemon.directory}/base.qcow2`;
  const top = `${daemon.directory}/top.qcow2`;
  await run("qemu-img", ["create", "-q", "-f", "qcow2", base, "32M"]);
  await run("qemu-img", ["create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top]);
  if (process.getuid?.() === 0) for (const file of [base, top]) await chown(file, 65_534, 65_534);
  const id = "6f1f1a2b-0000-4000-8000-000000000002";
  const devices = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${top}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>`;
  await daemon.virsh(qemu, "create", await daemon.file("disks.xml", tiny("disks", id, devices)));
  await using host = await open(qemu);
  try {
    const vm = (await host.listVms({ signal })).find((candidate) => candidate.id === id);
    assert.ok(vm);
    assert.deepEqual(
      [vm.name, vm.state, vm.persistent, vm.autostart, vm.agent, vm.memoryBytes],
      ["disks", "running", false, false, "disconnected", 24 << 20],
    );
    assert.deepEqual(vm.nics, [{ mac: "52:54:00:00:00:01", model: "virtio", type: "user", source: undefined }]);
    const [disk] = vm.disks;
    assert.deepEqual([disk?.target, disk?.format, disk?.source.path, disk?.backingChain], ["vda", "qcow2", top, [base]]);
    assert.equal(disk?.capacityBytes, 32 << 20);
    assert.ok(disk.allocatedBytes! > 0);
    assert.equal(
      (await host.listVms({ signal })).find((candidate) => candidate.id === id),
      vm,
      "an unchanged VM is the same object again",
    );
  } finally {
    await daemon.virsh(qemu, "destroy", id);
  }
});

test("storage pools are told, and their coming and going is an event", async (t) => {
  const { signal } = t;
  await using host = await open(qemu);
  assert.deepEqual(await host.pools({ signal }), []);
  await daemon.virsh(qemu, "pool-create-as", "vms", "dir", "--target", daemon.directory);
  try {
    for await (const event of host.events({ signal })) if (event.kind === "pools-changed") break;
    const [pool] = await host.pools({ signal });
    assert.deepEqual([pool?.name, pool?.type, pool?.path, pool?.active], ["vms", "dir", daemon.directory, true]);
    assert.ok(pool!.capacityBytes > pool!.availableBytes && pool!.availableBytes > 0);
  } finally {
    await daemon.virsh(qemu, "pool-destroy", "vms");
  }
});

test("a daemon that is killed ends the connection at once, with the reason", async (t) => {
  await using other = await PrivateLibvirtd.start();
  await using host = await openLibvirtHost({ record: { name: "dying", uri: other.uri("test:///default") }, signal: t.signal, log: noLog });
  const hanging = (async () => {
    for await (const _ of host.events(t)) continue;
  })();
  await other.kill();
  assert.match((await host.closed)?.message ?? "", /connection to dying was lost/);
  await hanging;
  await assert.rejects(host.vm(vmId, t), (error) => error instanceof EngineError && error.kind === "host-lost");
  await assert.rejects(
    openLibvirtHost({ record: { name: "dead", uri: other.uri("test:///default") }, signal: t.signal, log: noLog }),
    (error) => error instanceof EngineError && error.kind === "host-lost",
  );
});

test("a URI that is none is invalid, and says which part", async (t) => {
  await assert.rejects(
    openLibvirtHost({ record: { name: "odd", uri: "qemu+carrier-pigeon://host/system" }, signal: t.signal, log: noLog }),
    (error) => error instanceof EngineError && error.kind === "invalid" && /carrier-pigeon/.test((error.cause as Error).message),
  );
});
