import assert from "node:assert/strict";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  BlockCommitFlags,
  BlockCopyFlags,
  BlockJobAbortFlags,
  BlockJobStatus,
  BlockJobType,
  CheckpointDeleteFlags,
  CheckpointXmlFlags,
  connect,
  type Connection,
  type Domain,
  DomainCreateFlags,
  DomainDeviceModifyFlags,
  type DomainEventItem,
  DomainJobOperation,
  DomainJobType,
  DomainState,
  DomainUndefineFlags,
  type EventSubscription,
  isLibvirtError,
  SnapshotCreateFlags,
  typedParams,
} from "../src/index.ts";
import { type PrivateLibvirtd, startLibvirtd } from "./private-libvirtd.ts";
import { run } from "./ssh-fixture.ts";

let daemon: PrivateLibvirtd;
let connection: Connection;
let disks: string;

before(async () => {
  daemon = await startLibvirtd();
  connection = await connect(`qemu+unix:///session?socket=${daemon.socket}`);
  disks = daemon.directoryFor("disks");
});
after(async () => {
  await connection?.close();
  await daemon?.[Symbol.asyncDispose]();
});

/** A guest without a system on its disk: what is asked of it here is asked of its QEMU. */
async function withGuest(name: string, body: (dom: Domain, disk: string) => Promise<void>): Promise<void> {
  const { remote } = connection;
  const disk = join(disks, `${name}.qcow2`);
  await run("qemu-img", ["create", "-q", "-f", "qcow2", disk, "16M"]);
  daemon.own(disk);
  const dom = await remote.domainDefineXml({
    xml: `<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
      <os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
      <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
      </devices></domain>`,
  });
  try {
    await remote.domainCreateWithFlags({ dom, flags: DomainCreateFlags.PAUSED });
    await remote.domainResume({ dom });
    await body(dom, disk);
  } finally {
    await remote.domainDestroy({ dom }).catch(() => undefined);
    const { MANAGED_SAVE, SNAPSHOTS_METADATA, CHECKPOINTS_METADATA } = DomainUndefineFlags;
    await remote.domainUndefineFlags({ dom, flags: MANAGED_SAVE | SNAPSHOTS_METADATA | CHECKPOINTS_METADATA });
  }
}

/** Waits for one of a subscription's events after the other. */
function watch<Item>(subscription: EventSubscription<Item>): (wanted?: (item: Item) => boolean) => Promise<Item> {
  const events = subscription[Symbol.asyncIterator]();
  return async (wanted = () => true) => {
    for (let next = await events.next(); !next.done; next = await events.next()) {
      assert.equal(next.value.kind, "item");
      if (next.value.kind === "item" && wanted(next.value.item)) return next.value.item;
    }
    throw new Error("the events ended");
  };
}

const state = async (dom: Domain): Promise<number> => (await connection.remote.domainGetState({ dom, flags: 0 })).state;

test("checkpoints and pull backup: begin with a checkpoint, the export answers, the job is seen, ended, and the next is incremental", async () => {
  const { remote } = connection;
  await withGuest("backup", async (dom) => {
    assert.equal((await remote.domainGetJobInfo({ dom })).type, DomainJobType.NONE);
    await assert.rejects(remote.domainAbortJob({ dom }), (error) => isLibvirtError(error, "OPERATION_INVALID"));
    const socket = join(disks, "backup.sock");
    const backup = (since: string): string => `<domainbackup mode='pull'>${since}<server transport='unix' socket='${socket}'/>
      <disks><disk name='vda' backup='yes' type='file'><scratch file='${join(disks, "scratch.qcow2")}'/></disk></disks></domainbackup>`;
    const checkpoint = (name: string): string =>
      `<domaincheckpoint><name>${name}</name><disks><disk name='vda' checkpoint='bitmap'/></disks></domaincheckpoint>`;
    await remote.domainBackupBegin({ dom, backupXml: backup(""), checkpointXml: checkpoint("c1"), flags: 0 });
    assert.match(await remote.domainBackupGetXmlDesc({ dom, flags: 0 }), /<domainbackup mode='pull'/);
    assert.equal((await nbdGreeting(socket)).toString("latin1"), "NBDMAGICIHAVEOPT");
    const { type, params } = await remote.domainGetJobStats({ dom, flags: 0 });
    assert.equal(type, DomainJobType.UNBOUNDED);
    assert.equal((await remote.domainGetJobInfo({ dom })).type, DomainJobType.UNBOUNDED);
    assert.equal(typedParams.decode(params)["operation"], DomainJobOperation.BACKUP);
    await using completed = connection.events.domain("jobCompleted", { dom });
    await completed.ready;
    await remote.domainAbortJob({ dom });
    const job = await watch(completed)();
    assert.equal(job.params["operation"], DomainJobOperation.BACKUP);
    await assert.rejects(remote.domainBackupGetXmlDesc({ dom, flags: 0 }), (error) => isLibvirtError(error, "NO_DOMAIN_BACKUP"));

    await remote.domainBackupBegin({
      dom,
      backupXml: backup("<incremental>c1</incremental>"),
      checkpointXml: checkpoint("c2"),
      flags: 0,
    });
    await remote.domainAbortJob({ dom });
    const { checkpoints } = await remote.domainListAllCheckpoints({ dom, needResults: 1, flags: 0 });
    assert.deepEqual(checkpoints.map(({ name }) => name).sort(), ["c1", "c2"]);
    const c2 = await remote.domainCheckpointLookupByName({ dom, name: "c2", flags: 0 });
    assert.equal((await remote.domainCheckpointGetParent({ checkpoint: c2, flags: 0 })).name, "c1");
    assert.match(await remote.domainCheckpointGetXmlDesc({ checkpoint: c2, flags: CheckpointXmlFlags.NO_DOMAIN }), /bitmap='c2'/);
    const c1 = await remote.domainCheckpointLookupByName({ dom, name: "c1", flags: 0 });
    const children = await remote.domainCheckpointListAllChildren({ checkpoint: c1, needResults: 1, flags: 0 });
    assert.deepEqual(
      children.checkpoints.map(({ name }) => name),
      ["c2"],
    );
    await remote.domainCheckpointDelete({ checkpoint: c1, flags: CheckpointDeleteFlags.CHILDREN });
    assert.equal((await remote.domainListAllCheckpoints({ dom, needResults: 1, flags: 0 })).ret, 0);
  });
});

/** What an NBD server says first. */
function nbdGreeting(path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket(path);
    socket.once("error", reject);
    socket.once("data", (chunk) => {
      socket.destroy();
      resolve(chunk.subarray(0, 16));
    });
  });
}

test("block copy: mirror to a new disk, watch it become ready, change speed, pivot; and abort another", async () => {
  const { remote } = connection;
  await withGuest("copy", async (dom, disk) => {
    await using jobs = connection.events.domain("blockJob2", { dom });
    await jobs.ready;
    const next = watch(jobs);
    const is = (status: number) => (item: DomainEventItem<"blockJob2">) => item.status === status;
    const copyTo = (path: string): Promise<void> =>
      remote.domainBlockCopy({
        dom,
        path: "vda",
        destxml: `<disk type='file'><source file='${path}'/><driver type='qcow2'/></disk>`,
        params: typedParams.encode({ bandwidth: 1_000_000_000n, granularity: 65_536 }),
        flags: BlockCopyFlags.TRANSIENT_JOB,
      });
    await copyTo(join(disks, "copied.qcow2"));
    const ready = await next(is(BlockJobStatus.READY));
    assert.deepEqual([ready.dst, ready.type], ["vda", BlockJobType.COPY]);
    const info = await remote.domainGetBlockJobInfo({ dom, path: "vda", flags: 0 });
    assert.deepEqual([info.found, info.type, info.cur], [1, BlockJobType.COPY, info.end]);
    await remote.domainBlockJobSetSpeed({ dom, path: "vda", bandwidth: 100n, flags: 0 });
    await remote.domainBlockJobAbort({ dom, path: "vda", flags: BlockJobAbortFlags.PIVOT });
    await next(is(BlockJobStatus.COMPLETED));
    assert.match(await remote.domainGetXmlDesc({ dom, flags: 0 }), /copied\.qcow2/);

    await copyTo(join(disks, "given-up.qcow2"));
    await next(is(BlockJobStatus.READY));
    await remote.domainBlockJobAbort({ dom, path: "vda", flags: 0 });
    await next(is(BlockJobStatus.CANCELED));
    assert.equal((await remote.domainGetBlockJobInfo({ dom, path: "vda", flags: 0 })).found, 0);
    assert.ok(!(await remote.domainGetXmlDesc({ dom, flags: 0 })).includes(disk));
  });
});

test("snapshot, block commit and pull: the chain grows and shrinks while the guest runs", async () => {
  const { remote } = connection;
  await withGuest("chain", async (dom, disk) => {
    await using jobs = connection.events.domain("blockJob2", { dom });
    await jobs.ready;
    const next = watch(jobs);
    const snapshot = (name: string): Promise<unknown> =>
      remote.domainSnapshotCreateXml({
        dom,
        xmlDesc: `<domainsnapshot><name>${name}</name><disks><disk name='vda' snapshot='external'>
          <source file='${join(disks, `${name}.qcow2`)}'/></disk></disks></domainsnapshot>`,
        flags: SnapshotCreateFlags.DISK_ONLY | SnapshotCreateFlags.NO_METADATA,
      });
    await snapshot("s1");
    await remote.domainBlockCommit({ dom, disk: "vda", base: null, top: null, bandwidth: 0n, flags: BlockCommitFlags.ACTIVE });
    await next(({ status, type }) => status === BlockJobStatus.READY && type === BlockJobType.ACTIVE_COMMIT);
    await remote.domainBlockJobAbort({ dom, path: "vda", flags: BlockJobAbortFlags.PIVOT });
    await next(({ status }) => status === BlockJobStatus.COMPLETED);
    assert.ok((await remote.domainGetXmlDesc({ dom, flags: 0 })).includes(`<source file='${disk}'`));
    await snapshot("s2");
    await remote.domainBlockPull({ dom, path: "vda", bandwidth: 0n, flags: 0 });
    await next(({ status, type }) => status === BlockJobStatus.COMPLETED && type === BlockJobType.PULL);
    assert.ok(!(await remote.domainGetXmlDesc({ dom, flags: 0 })).includes(disk));
  });
});

test("save and restore, by file and managed", async () => {
  const { remote } = connection;
  await withGuest("saved", async (dom) => {
    const file = join(disks, "saved.img");
    await remote.domainSave({ dom, to: file });
    assert.equal(await state(dom), DomainState.SHUTOFF);
    assert.match(await remote.domainSaveImageGetXmlDesc({ file, flags: 0 }), /<name>saved<\/name>/);
    await remote.domainRestore({ from: file });
    assert.equal(await state(dom), DomainState.RUNNING);
    await remote.domainManagedSave({ dom, flags: 0 });
    assert.equal(await remote.domainHasManagedSaveImage({ dom, flags: 0 }), 1);
    assert.match(await remote.domainManagedSaveGetXmlDesc({ dom, flags: 0 }), /<name>saved<\/name>/);
    await remote.domainCreate({ dom });
    assert.equal(await remote.domainHasManagedSaveImage({ dom, flags: 0 }), 0);
    assert.equal(await state(dom), DomainState.RUNNING);
    await remote.domainSaveParams({ dom, params: typedParams.encode({ file, dxml: undefined }), flags: 0 });
    await remote.domainRestoreParams({ params: typedParams.encode({ file }), flags: 0 });
    assert.equal(await state(dom), DomainState.RUNNING);
  });
});

test("devices and tuning: a disk comes and goes with its events, throttling and memory parameters are typed", async () => {
  const { remote } = connection;
  await withGuest("tuned", async (dom) => {
    const extra = join(disks, "extra.qcow2");
    await run("qemu-img", ["create", "-q", "-f", "qcow2", extra, "1M"]);
    daemon.own(extra);
    await using removed = connection.events.domain("deviceRemoved", { dom });
    await removed.ready;
    const xml = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${extra}'/><target dev='sda' bus='usb'/></disk>`;
    await remote.domainAttachDeviceFlags({ dom, xml, flags: DomainDeviceModifyFlags.LIVE });
    assert.ok((await remote.domainGetXmlDesc({ dom, flags: 0 })).includes(extra));
    await remote.domainDetachDeviceFlags({ dom, xml, flags: DomainDeviceModifyFlags.LIVE });
    assert.match((await watch(removed)()).devAlias, /^usb-disk/);
    const params = typedParams.encode({ total_bytes_sec: 1_048_576n });
    await remote.domainSetBlockIoTune({ dom, disk: "vda", params, flags: 0 });
    const { nparams } = await remote.domainGetBlockIoTune({ dom, disk: "vda", nparams: 0, flags: 0 });
    const tuned = await remote.domainGetBlockIoTune({ dom, disk: "vda", nparams, flags: 0 });
    assert.equal(typedParams.decode(tuned.params)["total_bytes_sec"], 1_048_576n);
    assert.equal((await remote.domainGetBlockInfo({ dom, path: "vda", flags: 0 })).capacity, 16_777_216n);
    await remote.domainBlockResize({ dom, disk: "vda", size: 32_768n, flags: 0 });
    assert.equal((await remote.domainGetBlockInfo({ dom, path: "vda", flags: 0 })).capacity, 33_554_432n);
  });
});
