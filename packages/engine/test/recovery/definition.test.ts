import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { adapt } from "../../src/adapters/libvirt/backup/recovery.ts";
import { parseDomain } from "../../src/adapters/libvirt/xml/index.ts";

const fixture = (name: string): string => readFileSync(join(import.meta.dirname, "../adapters/libvirt/fixtures", name), "utf8");
const id = "11111111-2222-4333-8444-555555555555";

describe("the definition of a recovered VM", () => {
  for (const name of ["linux-running.xml", "windows-off.xml"]) {
    it(`has its own name, images and addresses, and is else what it was: ${name}`, () => {
      const text = fixture(name);
      const before = parseDomain(text);
      const disks = before.disks
        .filter((disk) => disk.device === "disk" && disk.source !== undefined)
        .map(({ target }) => ({ target, path: `/pool/it's & <${target}>.qcow2` }));
      const after = parseDomain(adapt(text, { id, name: "a<b>&'c", newIdentity: true, disks, networks: {} }));
      assert.deepEqual([after.uuid, after.name], [id, "a<b>&'c"]);
      for (const { target, path } of disks) {
        const disk = after.disks.find((one) => one.target === target);
        assert.deepEqual([disk?.source?.path, disk?.format], [path, "qcow2"]);
      }
      assert.equal(after.nics.length, before.nics.length);
      for (const [at, nic] of after.nics.entries()) assert.notEqual(nic.mac, before.nics[at]?.mac);
      assert.deepEqual([after.memoryBytes, after.vcpus, after.machine], [before.memoryBytes, before.vcpus, before.machine]);
      if (before.firmware.nvram !== undefined) assert.notEqual(after.firmware.nvram, before.firmware.nvram);
    });
  }

  it("has another VM-Generation-ID, also in the place of the one that is gone: its guest was rolled back", () => {
    const text = fixture("windows-off.xml").replace("</uuid>", "</uuid>\n  <genid>5f1c1c1e-0d0f-4c62-9b3c-4e3c1d6f2a10</genid>");
    const { uuid, name } = parseDomain(text);
    const after = adapt(text, { id: uuid, name, newIdentity: false, disks: [], networks: {} });
    assert.match(after, /<genid>[0-9a-f-]{36}<\/genid>/);
    assert.doesNotMatch(after, /5f1c1c1e/);
  });

  it("has nothing of the old identity in what only some definitions hold", () => {
    const text = fixture("windows-off.xml")
      .replace(/<nvram[^>]*>([^<]*)<\/nvram>/, (_, path: string) => `<nvram type='file'>\n      <source file='${path}'/>\n    </nvram>`)
      .replace("<mac address='52:54:00:aa:00:01'/>", "<mac address='52:54:00:aa:00:01' type='static'/>")
      .replace(
        "</os>",
        "</os>\n  <sysinfo type='smbios'><system><entry name='uuid'>77777777-2222-4333-8444-555555555555</entry></system></sysinfo>",
      );
    const before = parseDomain(text);
    const after = adapt(text, { id, name: "$& and $'", newIdentity: true, disks: [], networks: {} });
    const { name, uuid, firmware, nics } = parseDomain(after);
    assert.deepEqual([name, uuid], ["$& and $'", id]);
    assert.equal(firmware.nvram, "/var/lib/libvirt/qemu/nvram/$& and $'_VARS.fd");
    assert.ok(nics.every(({ mac }) => !before.nics.some((nic) => nic.mac === mac)));
    assert.match(after, new RegExp(`<entry name='uuid'>${id}</entry>`));
  });

  it("keeps its addresses when it takes the place of the one that is gone", () => {
    const text = fixture("linux-running.xml");
    const { uuid, name, nics } = parseDomain(text);
    assert.deepEqual(parseDomain(adapt(text, { id: uuid, name, newIdentity: false, disks: [], networks: {} })).nics, nics);
  });

  it("has files in place of network disks and devices, and no secret of theirs", () => {
    const source = (xml: string): string => fixture("linux-running.xml").replace(/<source file='[^']*'[^]*?(?:\/>|<\/source>)/, () => xml);
    const { target } = parseDomain(fixture("linux-running.xml")).disks.find((disk) => disk.source?.type === "file") ?? assert.fail();
    for (const xml of [
      "<source protocol='nbd' name='web'/>",
      "<source protocol='rbd' name='pool/web'><host name='a'/><auth username='x'><secret type='ceph' uuid='u'/></auth></source>",
      "<source dev='/dev/vg/web'/>",
    ]) {
      const wanted = { id, name: "x", newIdentity: true, disks: [{ target, path: "/pool/x.qcow2" }], networks: {} };
      const adapted = adapt(source(xml), wanted);
      assert.equal(parseDomain(adapted).disks.find((disk) => disk.target === target)?.source?.path, "/pool/x.qcow2");
      assert.doesNotMatch(adapted, /protocol=|<auth|\/dev\/vg/);
    }
  });

  it("has firmware variables of its own, in whichever way libvirt writes them, and is refused where it would share them", () => {
    const withNvram = (xml: string): string => fixture("linux-running.xml").replace(/<os>/, () => `<os>${xml}`);
    const wanted = { id, name: "R&D '2'", newIdentity: true, disks: [], networks: {} };
    for (const xml of [
      "<nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/nv&amp;ram/web_VARS.fd</nvram>",
      "<nvram type='file'>\n      <source file='/nv&amp;ram/web_VARS.fd'/>\n    </nvram>",
    ]) {
      assert.equal(parseDomain(adapt(withNvram(xml), wanted)).firmware.nvram, "/nv&ram/R&D '2'_VARS.fd");
    }
    const taken = adapt(withNvram("<nvram>/nvram/R&amp;D &apos;2&apos;_VARS.fd</nvram>"), wanted);
    assert.equal(parseDomain(taken).firmware.nvram, `/nvram/R&D '2'-${id}_VARS.fd`);
    const block = withNvram("<nvram type='block'><source dev='/dev/vg/vars'/></nvram>");
    assert.throws(() => adapt(block, wanted), /<nvram> is no file of its own/);
  });

  it("takes a name that holds what text replacement gives a meaning", () => {
    const name = "cash$$ $& $' $1";
    const { uuid } = parseDomain(fixture("linux-running.xml"));
    assert.equal(
      parseDomain(adapt(fixture("linux-running.xml"), { id: uuid, name, newIdentity: false, disks: [], networks: {} })).name,
      name,
    );
  });

  it("is refused rather than guessed where an image cannot be moved in it", () => {
    const text = fixture("linux-running.xml");
    const wanted = { id, name: "x", newIdentity: true, disks: [{ target: "nope", path: "/pool/x" }], networks: {} };
    assert.throws(() => adapt(text, wanted), /cannot be adapted/);
  });

  it("of another kind of hypervisor is refused", () => {
    const wanted = { id, name: "x", newIdentity: true, disks: [], networks: {} };
    assert.throws(() => adapt("<vm/>", wanted), /no definition that libvirt could take/);
  });
});
