import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Connection, ErrorCode, LibvirtError } from "@godwit/libvirt";
import { deleteImages } from "../../../src/adapters/libvirt/migration/copies.ts";

const { signal } = new AbortController();

const noVolume = new LibvirtError(
  "libvirt",
  "no such volume",
  {},
  {
    remote: { code: ErrorCode.NO_STORAGE_VOL, domain: 18, level: 2, str1: null, str2: null, str3: null, int1: 0, int2: 0 },
  },
);

interface OtherVm {
  readonly id?: number;
  /** By path: what is below. */
  readonly below?: Readonly<Record<string, string>>;
}

/** A host with one pool, some volumes in it, and one VM. */
function host(volumes: string[], definition = "<domain/>", { id = 1, below = {} }: OtherVm = {}): Connection {
  const remote = {
    connectListAllDomains: async () => ({ domains: [{ id }] }),
    storageVolGetXmlDesc: async ({ vol: { key } }: { vol: { key: string } }) =>
      `<volume><name>${key}</name><key>${key}</key><target><path>${key}</path></target>` +
      `${below[key] === undefined ? "" : `<backingStore><path>${below[key]}</path></backingStore>`}</volume>`,
    domainGetXmlDesc: async () => definition,
    connectListAllStoragePools: async () => ({ pools: [{ name: "images" }] }),
    storagePoolRefresh: async () => undefined,
    storagePoolGetXmlDesc: async () =>
      "<pool type='dir'><name>images</name><uuid>3f0c1d6e-0000-4000-8000-000000000001</uuid><capacity>1</capacity>" +
      "<allocation>1</allocation><available>1</available><target><path>/images</path></target></pool>",
    storageVolLookupByPath: async ({ path }: { path: string }) => {
      if (!volumes.includes(path)) throw noVolume;
      return { key: path };
    },
    storageVolDelete: async ({ vol }: { vol: { key: string } }) => void volumes.splice(volumes.indexOf(vol.key), 1),
  };
  return { remote } as unknown as Connection;
}

describe("deleting images", () => {
  it("deletes them through their pools, is harmless to repeat, and says which are in none", async () => {
    const volumes = ["/images/a.qcow2"];
    for (const _ of ["once", "and again"]) assert.deepEqual(await deleteImages(host(volumes), ["/images/a.qcow2"], signal), []);
    assert.deepEqual(volumes, []);
    assert.deepEqual(await deleteImages(host([]), ["/elsewhere/b.qcow2"], signal), [
      { path: "/elsewhere/b.qcow2", reason: "it is in no storage pool" },
    ]);
  });

  it("leaves a volume that a VM has as a device", async () => {
    const volumes = ["/dev/vg/web"];
    const left = await deleteImages(host(volumes, "<domain><disk><source dev='/dev/vg/web'/></disk></domain>"), [...volumes], signal);
    assert.deepEqual([left.length, volumes], [1, ["/dev/vg/web"]]);
  });

  it("leaves what is below a disk of a VM that is off, which only its pool knows", async () => {
    const volumes = ["/images/base.qcow2", "/images/middle.qcow2", "/images/clone.qcow2"];
    const clone =
      "<domain type='qemu'><name>clone</name><uuid>3f0c1d6e-0000-4000-8000-000000000002</uuid><memory>1</memory><vcpu>1</vcpu><os><type>hvm</type></os>" +
      "<devices><disk type='file' device='disk'><source file='/images/clone.qcow2'/><target dev='vda'/></disk></devices></domain>";
    const below = { "/images/clone.qcow2": "/images/middle.qcow2", "/images/middle.qcow2": "/images/base.qcow2" };
    const left = await deleteImages(host(volumes, clone, { id: -1, below }), ["/images/base.qcow2"], signal);
    assert.deepEqual(left, [{ path: "/images/base.qcow2", reason: "another VM of the host uses it" }]);
    assert.equal(volumes.length, 3);
  });

  it("leaves what another VM uses, whatever its name", async () => {
    const path = "/images/R&D's.qcow2";
    const volumes = [path];
    const used = host(volumes, "<domain><disk><source file='/images/R&amp;D&apos;s.qcow2'/></disk></domain>");
    assert.deepEqual(await deleteImages(used, [path], signal), [{ path, reason: "another VM of the host uses it" }]);
    assert.deepEqual(volumes, [path]);
  });
});
