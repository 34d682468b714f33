import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CancelledError, raceAbort } from "@godwit/core";
import type { Connection, Domain } from "@godwit/libvirt";
import { activeJob, readWriteStats } from "../../../src/adapters/libvirt/backup/facts.ts";
import { checkpointXmlOf, pullXml } from "../../../src/adapters/libvirt/backup/pull.ts";
import { libvirtBackup } from "../../../src/adapters/libvirt/backup/index.ts";
import type { BackupFacts, HostShell, HypervisorHost, MomentRequest } from "../../../src/index.ts";

const facts: BackupFacts = {
  vmId: "v1",
  name: "web",
  state: "running",
  disks: [
    { target: "vda", capacityBytes: 1, format: "qcow2" },
    { target: "vdb", capacityBytes: 1, format: "raw", untracked: "raw" },
  ],
  leftOut: [{ target: "sda", reason: "sda is a cdrom" }],
  agent: "connected",
  checkpoints: [],
};
const request: MomentRequest = {
  hostId: "h1",
  moment: "m1",
  checkpoint: "godwit-a-m1",
  disks: [
    { target: "vda", mode: "incremental" },
    { target: "vdb", mode: "compared" },
  ],
  base: "godwit-a-m0",
  freeze: true,
  scratchBytes: 0,
};
const dom: Domain = { name: "web", uuid: "v1", id: 1 };
const { signal } = new AbortController();

describe("what libvirt is asked for", () => {
  it("exports changes where there is a base, all else whole, and leaves out what is no disk", () => {
    assert.equal(
      pullXml(facts, request, "<server transport='unix' socket='/own/it&apos;s.sock'/>", "/own"),
      "<domainbackup mode='pull'><server transport='unix' socket='/own/it&apos;s.sock'/><disks>" +
        "<disk name='vda' backup='yes' type='file' exportname='vda' backupmode='incremental' incremental='godwit-a-m0' exportbitmap='vda'><scratch file='/own/godwit-m1-vda.scratch'/></disk>" +
        "<disk name='vdb' backup='yes' type='file' exportname='vdb' backupmode='full'><scratch file='/own/godwit-m1-vdb.scratch'/></disk>" +
        "<disk name='sda' backup='no'/></disks></domainbackup>",
    );
  });

  it("makes a checkpoint of the disks that can have one, and none when none can", () => {
    assert.equal(
      checkpointXmlOf(facts, request),
      "<domaincheckpoint><name>godwit-a-m1</name><disks><disk name='vda' checkpoint='bitmap'/><disk name='vdb' checkpoint='no'/><disk name='sda' checkpoint='no'/></disks></domaincheckpoint>",
    );
    assert.equal(checkpointXmlOf({ ...facts, disks: facts.disks.slice(1) }, request), undefined);
  });
});

describe("what holds a VM", () => {
  const connection = (type: number, backup: string): Connection =>
    ({
      remote: {
        domainGetJobStats: async () => ({ type, params: [] }),
        domainBackupGetXmlDesc: async () => backup,
      },
    }) as unknown as Connection;

  it("is ours when its scratch files are, and somebody else's otherwise", async () => {
    const ours =
      "<domainbackup><disks><disk name='vda'><scratch file='/x/domain-1-web/godwit-m1-2-vda.scratch'/></disk></disks></domainbackup>";
    assert.deepEqual(await activeJob(connection(2, ours), dom), { moment: "m1-2" });
    assert.deepEqual(await activeJob(connection(2, ours.replace("godwit-", "other-")), dom), { job: "operation" });
    assert.deepEqual(await activeJob(connection(0, ours), dom), {});
  });
});

describe("an export that is given up while the daemon begins it", () => {
  it("is found by its end, though the daemon begins it later", async () => {
    const said: string[] = [];
    const cancel = new AbortController();
    let running = false;
    const remote = {
      domainLookupByUuid: async () => dom,
      connectGetUri: async () => "qemu:///system",
      async domainBackupBegin(_: unknown, options?: { readonly signal?: AbortSignal }) {
        const begun = new Promise<void>((resolve) => setTimeout(resolve, 100)).then(() => (running = true));
        cancel.abort(new CancelledError("cancelled"));
        await raceAbort(begun, options?.signal);
      },
      domainGetJobStats: async () => ({ type: running ? 2 : 0, params: [] }),
      domainBackupGetXmlDesc: async () => "<scratch file='/own/godwit-m1-vda.scratch'/>",
      domainAbortJob: async () => void (said.push("ended"), (running = false)),
      domainGetState: async () => ({ state: 1, reason: 1 }),
      domainGetXmlDesc: async () => "<domain><name>web</name><uuid>v1</uuid><memory>1</memory></domain>",
    };
    const host = { connection: { remote } } as unknown as HypervisorHost;
    const shell = { run: async () => ({ code: 1, stdout: "", stderr: "" }) } as unknown as HostShell;
    const rooms = { own: "/own", folders: [{ directory: "/own", freeBytes: 1 }], listening: new Set() };
    const known = { ...facts, rooms };
    const backup = libvirtBackup(host, shell);
    await assert.rejects(backup.begin("v1", { ...request, freeze: false, facts: known }, { signal: cancel.signal }), /cancelled/);
    await libvirtBackup(host, shell).end("v1", request, { forget: false, signal });
    assert.deepEqual([said, running], [["ended"], false]);
  });
});

describe("a guest's writes", () => {
  it("are those of all its disks together, in milliseconds", async () => {
    const stats = {
      "block.count": 2,
      "block.0.wr.reqs": 3n,
      "block.0.wr.times": 6_000_000n,
      "block.1.wr.reqs": 1n,
      "block.1.wr.times": 2_000_000n,
      "block.0.rd.reqs": 9n,
    };
    const connection = { getAllDomainStats: async () => [{ dom, stats }] } as unknown as Connection;
    assert.deepEqual(await readWriteStats(connection, dom, signal), { requests: 4, totalMs: 8 });
  });

  it("are not known while another call holds the VM: libvirt then leaves the counts out", async () => {
    const stats = { "block.count": 1, "block.0.name": "vda", "block.0.path": "/a.qcow2" };
    const connection = { getAllDomainStats: async () => [{ dom, stats }] } as unknown as Connection;
    assert.equal(await readWriteStats(connection, dom, signal), undefined);
  });

  it("are not known of a VM that is gone", async () => {
    const connection = { getAllDomainStats: async () => [] } as unknown as Connection;
    assert.equal(await readWriteStats(connection, dom, signal), undefined);
  });
});
