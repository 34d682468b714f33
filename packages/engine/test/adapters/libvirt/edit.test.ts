import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { mapDefinition, renewGenerationId, withGenerationId } from "../../../src/adapters/libvirt/xml/edit.ts";
import { parseDomain } from "../../../src/adapters/libvirt/xml/index.ts";

const running = readFileSync(join(import.meta.dirname, "fixtures/linux-running.xml"), "utf8");

test("a mapping of nothing changes no byte", () => {
  assert.equal(mapDefinition(running, { disks: [], networks: {} }), running);
});

test("only the named disk gets another image and format, and what was below it is gone", () => {
  const before = parseDomain(running);
  const target = before.disks.find((disk) => disk.backing.length > 0)?.target ?? "";
  assert.notEqual(target, "", "the fixture has a chain");
  const after = parseDomain(mapDefinition(running, { disks: [{ target, path: "/new/it's $& $1.raw", format: "raw" }], networks: {} }));
  for (const [at, disk] of after.disks.entries()) {
    if (disk.target !== target) {
      assert.deepEqual(disk, before.disks[at]);
      continue;
    }
    assert.deepEqual([disk.source?.path, disk.format, disk.backing, disk.bus], ["/new/it's $& $1.raw", "raw", [], before.disks[at]?.bus]);
  }
});

test("network cards plug into what the mapping says, by their old name", () => {
  const xml = `<domain type='kvm'><name>a</name><uuid>3f0c1d6e-0000-4000-8000-000000000001</uuid><memory unit='KiB'>1</memory>
    <metadata><x:y xmlns:x='u'><interface type='bridge'><source bridge='old'/></interface></x:y></metadata>
    <os><type>hvm</type></os><devices>
    <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='old'/></interface>
    <interface type='network'><mac address='52:54:00:00:00:02'/><source network='old' portgroup='p'/></interface>
    <interface type='bridge'><mac address='52:54:00:00:00:03'/><source bridge='kept'/></interface></devices></domain>`;
  const mapped = mapDefinition(xml, { disks: [], networks: { old: "new&1" } });
  assert.deepEqual(
    parseDomain(mapped).nics.map(({ type, source, portGroup }) => [type, source, portGroup]),
    [
      ["bridge", "new&1", undefined],
      ["network", "new&1", "p"],
      ["bridge", "kept", undefined],
    ],
  );
  assert.match(mapped, /<x:y xmlns:x='u'><interface type='bridge'><source bridge='old'\/>/, "metadata stays as it is");
});

test("disks of a pool or a device become files; a snapshot's own list of disks stays", () => {
  const xml = `<domainsnapshot><name>s</name><disks><disk name='vda' snapshot='internal'/></disks><domain><devices>
    <disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='p' volume='v'/><target dev='vda' bus='virtio'/></disk>
    <disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/x' index='2'/><target dev='vdb'/></disk></devices></domain></domainsnapshot>`;
  const disks = [
    { target: "vda", path: "/n/a" },
    { target: "vdb", path: "/n/b", format: "qcow2" },
  ];
  const mapped = mapDefinition(xml, { disks, networks: {} });
  assert.match(mapped, /<disk name='vda' snapshot='internal'\/>/);
  assert.match(mapped, /<disk type='file' device='disk'><driver name='qemu' type='qcow2'\/><source file='\/n\/a'\/>/);
  assert.match(mapped, /<disk type='file' device='disk'><driver name='qemu' type='qcow2'\/><source file='\/n\/b' index='2'\/>/);
});

test("a hostile definition is gone through once, and left as it is", () => {
  for (const hostile of [
    "<disk type='file'>".repeat(100_000),
    "<disk x".repeat(200_000),
    `<disk a='b'>${"<mirror ".repeat(200_000)}</disk>`,
  ])
    assert.equal(mapDefinition(hostile, { disks: [{ target: "vda", path: "/n" }], networks: { a: "b" } }), hostile);
});

test("a VM-Generation-ID is added once, and another one takes its place only where there is one", () => {
  const none = "<domain><name>web</name><uuid>u</uuid><memory>1</memory></domain>";
  const added = withGenerationId(none);
  assert.match(added, /<uuid>u<\/uuid>\s*<genid\/><memory>/);
  assert.equal(withGenerationId(added), added);
  assert.equal(renewGenerationId(none), none);
  const one = none.replace("</uuid>", "</uuid><genid>a</genid>");
  assert.equal(withGenerationId(one), one);
  assert.match(renewGenerationId(one), /<genid>[0-9a-f-]{36}<\/genid>/);
});

test("both definitions in a snapshot's description are mapped, whatever their metadata holds", () => {
  const disk = (path: string): string =>
    `<devices><disk type='file' device='disk'><source file='${path}'/><target dev='vda' bus='virtio'/></disk></devices>`;
  const odd =
    "<metadata><a:b xmlns:a='u'/><c xmlns='v'><metadata/><metadata><disk type='file'><target dev='vda'/></disk></metadata></c></metadata>";
  const of = (path: string): string =>
    `<domainsnapshot><name>s</name><domain>${odd}${disk(path)}</domain><inactiveDomain>${odd}${disk(path)}</inactiveDomain></domainsnapshot>`;
  assert.equal(mapDefinition(of("/old/a.qcow2"), { disks: [{ target: "vda", path: "/new/a.qcow2" }], networks: {} }), of("/new/a.qcow2"));
  const cut = `<domain><metadata>${disk("/old/a.qcow2")}`;
  assert.equal(mapDefinition(cut, { disks: [{ target: "vda", path: "/new/a.qcow2" }], networks: {} }), cut);
  const hostile = "<metadata ".repeat(300_000);
  assert.equal(mapDefinition(hostile, { disks: [], networks: {} }), hostile);
});
