import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import fuzz from "../../../fuzz/domain-xml.fuzz.ts";
import {
  describeSource,
  parseCapabilities,
  parseCpu,
  parseDomain,
  parseDomainCapabilities,
  parsePool,
  parseVolume,
  XmlError,
} from "../../../src/adapters/libvirt/xml/index.ts";

/** Captured from libvirt 9.0.0; the TPM was added by hand (the machine had no swtpm). */
const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}`, import.meta.url), "utf8");
const domain = (inside: string): string => `<domain type='qemu'><name>a</name><uuid>U</uuid><memory>1</memory>${inside}</domain>`;
const refused = (message: RegExp) => (error: unknown) => error instanceof XmlError && message.test(error.message);

test("a running Linux guest: identity, sizes, processor, firmware, agent", () => {
  const vm = parseDomain(fixture("linux-running.xml"));
  assert.equal(vm.uuid, "a714fef8-3bb6-4e29-a35b-6af14803318c");
  assert.equal(vm.name, "web-1");
  assert.equal(vm.title, 'Web & "front" ünïcode');
  assert.equal(vm.memoryBytes, 96 << 20);
  assert.deepEqual([vm.vcpus, vm.maximumVcpus], [1, 2]);
  assert.deepEqual([vm.type, vm.arch, vm.machine], ["qemu", "x86_64", "pc-q35-7.2"]);
  assert.deepEqual([vm.cpu.mode, vm.cpu.model, vm.cpu.fallback, vm.cpu.check], ["custom", "Nehalem", "forbid", "full"]);
  assert.deepEqual(vm.cpu.features[0], { name: "x2apic", policy: "disable" });
  assert.equal(vm.firmware.kind, "bios");
  assert.equal(vm.agent, "disconnected");
  assert.equal(parseDomain(fixture("linux-running.xml").replace("state='disconnected'", "state='connected'")).agent, "connected");
});

test("a running guest's disks: format, chain nearest first, empty drive, flags", () => {
  const [system, data, cdrom, empty] = parseDomain(fixture("linux-running.xml")).disks;
  assert.ok(system && data && cdrom && empty);
  assert.deepEqual([system.target, system.bus, system.format, system.cache, system.serial], ["vda", "virtio", "qcow2", "none", "D0001"]);
  assert.equal(system.source?.path, "/var/lib/libvirt/images/top.qcow2");
  assert.deepEqual(
    system.backing.map((image) => [image.path, image.format]),
    [
      ["/var/lib/libvirt/images/mid.qcow2", "qcow2"],
      ["/var/lib/libvirt/images/base.qcow2", "qcow2"],
    ],
  );
  assert.deepEqual([data.shareable, data.readOnly, data.backing], [true, false, []]);
  assert.deepEqual([cdrom.device, cdrom.readOnly], ["cdrom", true]);
  assert.equal(empty.source, undefined);
});

test("a Windows guest: UEFI with NVRAM, TPM, passed-through devices, volumes and LUNs", () => {
  const vm = parseDomain(fixture("windows-off.xml"));
  assert.deepEqual(vm.firmware, {
    kind: "efi",
    loader: "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
    secure: true,
    nvram: "/var/lib/libvirt/qemu/nvram/win-dc_VARS.fd",
    nvramTemplate: "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
  });
  assert.deepEqual(vm.tpms, [{ model: "tpm-crb", backend: "emulator", persistent: false, secret: undefined }]);
  assert.deepEqual(
    vm.hostDevices.map((device) => [device.text, device.managed]),
    [
      ["pci 0000:06:00.0", true],
      ["usb 0x1234:0xbeef", false],
    ],
  );
  assert.deepEqual(
    vm.nics.map((nic) => [nic.type, nic.source, nic.model, nic.passthrough]),
    [
      ["bridge", "br0", "e1000e", false],
      ["network", "default", "virtio", false],
      ["direct", "eth0", "virtio", false],
      ["hostdev", "0000:03:10.1", undefined, true],
    ],
  );
  assert.equal(vm.nics[1]?.portGroup, "blue");
  assert.deepEqual(vm.filesystems, [{ driver: undefined, source: "/srv/share", target: "share" }]);
  assert.deepEqual(
    vm.disks.map((disk) => [disk.target, disk.device, disk.type, disk.source && describeSource(disk.source), disk.source?.pool]),
    [
      ["sda", "disk", "block", "/dev/vg0/win-dc", undefined],
      ["vda", "disk", "volume", "win-data.qcow2", "default"],
      ["sdc", "lun", "block", "/dev/disk/by-id/scsi-1", undefined],
      ["fda", "floppy", "file", "/var/lib/libvirt/images/floppy.img", undefined],
    ],
  );
});

test("network disks: protocol, hosts and name; NVMe and folders", () => {
  const vm = parseDomain(fixture("network-disks-off.xml"));
  assert.deepEqual(
    vm.disks.map((disk) => disk.source && describeSource(disk.source)),
    [
      "rbd://mon1.example.org:6789,mon2.example.org:6789/vms/netdisks.img",
      "iscsi://10.0.0.5:3260/iqn.2013-07.com.example:iscsi-pool/1",
      "nbd://10.0.0.6:10809/export",
      "nbd:///run/nbd.sock/",
      "nvme://0000:01:00.0",
      "/srv/fat",
      "https://mirror.example.org:443/isos/d.iso",
    ],
  );
  assert.deepEqual([vm.cpu.mode, vm.cpu.migratable], ["host-passthrough", true]);
  assert.equal(vm.currentMemoryBytes, 512 << 20);
});

test("block jobs, firmware by name, SR-IOV in pass-through mode, confidential guests", () => {
  const vm = parseDomain(
    domain(`<os firmware='efi'><type arch='x86_64'>hvm</type><nvram type='file'><source file='/n.fd'/></nvram></os><launchSecurity type='sev'/>
      <memoryBacking><hugepages/></memoryBacking><devices><shmem name='ivshmem'/>
      <disk type='file'><source file='/a'/><target dev='vda'/><mirror type='file' job='copy' ready='yes'><source file='/b'/></mirror></disk>
      <disk type='file'><source file='/b'/></disk>
      <interface type='direct'><source dev='eth1' mode='passthrough'/></interface>
      <hostdev mode='subsystem' type='mdev'><source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev></devices>`),
  );
  assert.deepEqual([vm.firmware.kind, vm.firmware.nvram, vm.launchSecurity, vm.hugepages], ["efi", "/n.fd", "sev", true]);
  assert.deepEqual(vm.disks.length, 1);
  assert.deepEqual(vm.disks[0]?.mirror, { job: "copy", ready: true, path: "/b" });
  assert.equal(vm.nics[0]?.passthrough, true);
  assert.equal(vm.hostDevices[0]?.text, "mdev c2177883-f1bb-47f0-914d-32a22e3a8804");
  assert.deepEqual(vm.sharedMemory, ["ivshmem"]);
});

test("capabilities of a host", () => {
  const host = parseCapabilities(fixture("capabilities.xml"));
  assert.equal(host.uuid, "830b3739-200a-4c81-9c3d-f1b3e2c2fba1");
  assert.deepEqual([host.arch, host.cpuModel, host.cpuVendor, host.live], ["x86_64", "kvm64", "AMD", true]);
  assert.deepEqual(host.migrationTransports, ["tcp", "rdma"]);
  assert.ok(host.cpuFeatures.includes("avx512f"));
  const guest = host.guests.find((candidate) => candidate.arch === "x86_64");
  assert.deepEqual([guest?.emulator, guest?.domainTypes], ["/usr/bin/qemu-system-x86_64", ["qemu"]]);
  assert.ok(guest?.machines.includes("q35") && guest.machines.includes("pc-q35-7.2"));
});

test("capabilities of domains, and a baseline", () => {
  const caps = parseDomainCapabilities(fixture("domain-capabilities.xml"));
  assert.deepEqual([caps.domainType, caps.machine, caps.maximumVcpus, caps.backup], ["qemu", "pc-i440fx-7.2", 255, true]);
  assert.deepEqual(caps.cpuModes, ["maximum", "host-model", "custom"]);
  assert.deepEqual(caps.tpmBackends, ["passthrough"]);
  assert.deepEqual([caps.hostModel?.model, caps.hostModel?.features.length], ["EPYC", 28]);
  assert.ok(caps.usableModels.includes("qemu64") && !caps.usableModels.includes("phenom"));
  const cpu = parseCpu(
    "<cpu mode='custom' match='exact'><model>EPYC</model><feature policy='require' name='avx'/><feature name='sse'/></cpu>",
  );
  assert.deepEqual(cpu.features, [
    { name: "avx", policy: "require" },
    { name: "sse", policy: "require" },
  ]);
});

test("pools and volumes", () => {
  const pool = parsePool(fixture("pool-dir.xml"));
  assert.deepEqual([pool.name, pool.type, pool.path, pool.capacityBytes], ["vms", "dir", "/srv/vms", 270553174016]);
  const endless = fixture("pool-dir.xml").replaceAll(/270553174016|246283194368/g, "9223372036853727232");
  const { capacityBytes, availableBytes } = parsePool(endless);
  assert.deepEqual([capacityBytes, availableBytes], [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER], "storage without an end");
  const volume = parseVolume(fixture("volume-qcow2.xml"));
  assert.deepEqual([volume.name, volume.format, volume.capacityBytes, volume.allocatedBytes], ["b.qcow2", "qcow2", 67108864, 200704]);
  assert.deepEqual([volume.backingPath, volume.backingFormat], ["/var/lib/libvirt/images/base.qcow2", "qcow2"]);
});

test("blanks in names and paths belong to them, those between elements to nothing", () => {
  const { disks, name, firmware } = parseDomain(
    `<domain>\n  <name> web </name>\n  <uuid>u</uuid>\n  <memory> 4 </memory>\n  <os>\n    <nvram type='block'>\n      <source dev='/dev/v'/>\n    </nvram>\n  </os>
    <devices>\n  <disk>\n<source file=' /pool/a  b '/>\n<target dev='vda'/>\n</disk>\n</devices>\n</domain>`,
  );
  assert.deepEqual([name, disks[0]?.source?.path, firmware.nvram], [" web ", " /pool/a  b ", undefined]);
});

test("units are libvirt's; a size that cannot be exact is refused", () => {
  const memory = (text: string): number => parseDomain(`<domain><name>a</name><uuid>u</uuid>${text}</domain>`).memoryBytes;
  assert.equal(memory("<memory>4</memory>"), 4096);
  assert.equal(memory("<memory unit='b'>4</memory>"), 4);
  assert.equal(memory("<memory unit='GB'>4</memory>"), 4_000_000_000);
  assert.equal(memory("<memory unit='G'>4</memory>"), 4 * 1024 ** 3);
  assert.equal(memory("<memory unit='TiB'>4</memory>"), 4 * 1024 ** 4);
  assert.throws(() => memory("<memory unit='parsec'>4</memory>"), refused(/domain\/memory.*parsec/));
  assert.throws(() => memory("<memory unit='EiB'>4</memory>"), refused(/too large/));
  assert.throws(() => memory("<memory>-4</memory>"), refused(/domain\/memory.*not a count/));
});

test("errors name the element; hostile documents are refused", () => {
  assert.throws(() => parseDomain("<domain><name>a</name></domain>"), refused(/<domain>: has no <memory>/));
  assert.throws(() => parseDomain("<domain><name>a</name><memory>1</memory><uuid/></domain>"), refused(/domain\/uuid.*empty/));
  assert.throws(() => parseDomain("<network/>"), refused(/another root/));
  assert.throws(() => parseDomain(domain("").slice(0, -3)), refused(/line 1/));
  assert.throws(() => parseDomain(`<!DOCTYPE domain [<!ENTITY a "aaaa">]>${domain("<title>&a;</title>")}`), refused(/DOCTYPE/));
  assert.throws(() => parseDomain(domain("<__proto__ a='1'/>")), refused(/cannot be read/));
  assert.throws(() => parseDomain(domain("<a>".repeat(2000) + "</a>".repeat(2000))), XmlError);
  assert.throws(() => parseDomain(" ".repeat(5 << 20)), refused(/characters/));
  assert.equal(parseDomain(domain("<title>&lt;&amp;lt;&#65;&unknown;</title>")).title, "<&lt;A&unknown;");
});

test("property: any title and name survive, unknown elements do no harm", () => {
  const escape = (text: string): string =>
    text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("'", "&apos;");
  const printable = fc.string({ minLength: 1, maxLength: 40, unit: "grapheme" }).filter((text) => text.trim() === text && text !== "");
  fc.assert(
    fc.property(printable, fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/), (title, unknown) => {
      const vm = parseDomain(
        domain(`<x-${unknown} a='1'><y/>text</x-${unknown}><title>${escape(title)}</title><devices><x-${unknown}/></devices>`),
      );
      assert.equal(vm.title, title);
    }),
    { numRuns: 200 },
  );
});

test("fuzz: damaged documents are read or refused, nothing else", async () => {
  const { cases } = await fuzz({ seconds: 1, seed: 20261124 });
  assert.ok(cases > 0);
});
