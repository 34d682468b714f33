import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Connection, ErrorCode, LibvirtError } from "@godwit/libvirt";
import { createImages, deleteImages } from "../../../src/adapters/libvirt/migration/copies.ts";
import { libvirtMigration } from "../../../src/adapters/libvirt/migration/index.ts";
import type { HypervisorHost, SourceFacts } from "../../../src/index.ts";

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

describe("what is cancelled while the daemon does it", () => {
  it("is over before the caller looks what there is to undo", async () => {
    const cancel = new AbortController();
    let mirrors = false;
    const remote = {
      domainLookupByUuid: async () => ({ name: "web", uuid: "u", id: 1 }),
      storagePoolLookupByName: async () => ({ name: "p" }),
      storageVolCreateXml: async () => ({ name: "a" }),
      async domainBlockCopy(_: unknown, options?: { signal?: AbortSignal }) {
        cancel.abort(new Error("cancelled"));
        options?.signal?.throwIfAborted();
        await new Promise((resolve) => setTimeout(resolve, 50));
        mirrors = true;
      },
    };
    const copy = { target: "vda", from: "/a", to: "/b", pool: "p", name: "b", format: "qcow2", capacityBytes: 1 };
    const host = { connection: { remote } } as unknown as HypervisorHost;
    await assert.rejects(libvirtMigration(host).beginCopy("u", copy, { signal: cancel.signal }), /cancelled/);
    assert.ok(mirrors);
  });
});

describe("making images for copies", () => {
  it("leaves none behind when it is cancelled while the daemon makes one", async () => {
    const [there, asked, cancel] = [new Set<string>(), Promise.withResolvers<void>(), new AbortController()];
    const remote = {
      storagePoolLookupByName: async () => ({ name: "p" }),
      async storageVolCreateXml({ xml }: { xml: string }, options?: { signal?: AbortSignal }) {
        const name = /<name>(.*)<\/name>/.exec(xml)?.[1] ?? "";
        there.add(name);
        asked.resolve();
        await new Promise((resolve) => setTimeout(resolve, 50));
        options?.signal?.throwIfAborted();
        return { name };
      },
      storageVolGetPath: async (_: unknown, { signal }: { signal: AbortSignal }) => (signal.throwIfAborted(), "/pool/a"),
      storageVolDelete: async ({ vol }: { vol: { name: string } }) => there.delete(vol.name),
    };
    const disks = [{ target: "vda", path: "/pool/a.qcow2", capacityBytes: 1, format: "qcow2" }];
    const making = createImages(
      { remote } as unknown as Connection,
      { disks } as unknown as SourceFacts,
      [{ target: "vda", pool: "p" }],
      cancel.signal,
    );
    await asked.promise;
    cancel.abort(new Error("cancelled"));
    await assert.rejects(making, /cancelled/);
    assert.deepEqual([...there], []);
  });
});
