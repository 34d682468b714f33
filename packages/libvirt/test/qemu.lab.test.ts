import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  connectOver,
  type Connection,
  type Domain,
  DomainCreateFlags,
  DomainEvent,
  DomainState,
  isLibvirtError,
  MonitorCommandFlags,
  openUnix,
  StorageVolDownloadFlags,
  StorageVolUploadFlags,
  typedParams,
} from "../src/index.ts";
import { type PrivateLibvirtd, startLibvirtd } from "./private-libvirtd.ts";

let daemon: PrivateLibvirtd;
let connection: Connection;

before(async () => {
  daemon = await startLibvirtd();
  connection = await connectOver(await openUnix(daemon.socket), { driverUri: "qemu:///session" });
});
after(async () => {
  await connection?.close();
  await daemon?.[Symbol.asyncDispose]();
});

const domainXml = (name: string): string => `<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><serial type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  </devices></domain>`;

async function withDomain(name: string, body: (dom: Domain) => Promise<void>): Promise<void> {
  const { remote } = connection;
  const dom = await remote.domainDefineXml({ xml: domainXml(name) });
  try {
    await body(dom);
  } finally {
    await remote.domainDestroy({ dom }).catch(() => undefined);
    await remote.domainUndefine({ dom });
  }
}

test("a diskless TCG domain: define, start paused, XML, state, statistics, events, monitor, undefine", async () => {
  const { remote, qemu } = connection;
  await using lifecycle = connection.events.domain("lifecycle");
  await using monitor = connection.events.monitor({ event: "RESUME" });
  await Promise.all([lifecycle.ready, monitor.ready]);
  await withDomain("tcg1", async (dom) => {
    const running = await remote.domainCreateWithFlags({ dom, flags: DomainCreateFlags.PAUSED });
    assert.ok(running.id > 0);
    assert.deepEqual(await remote.domainGetState({ dom, flags: 0 }), { state: DomainState.PAUSED, reason: 1 });
    assert.match(await remote.domainGetXmlDesc({ dom, flags: 0 }), /machine='pc-i440fx/);
    const [own] = await connection.getAllDomainStats({ domains: [dom] });
    assert.equal(own?.dom.name, "tcg1");
    assert.equal(own.stats["state.state"], DomainState.PAUSED);
    assert.equal(own.stats["vcpu.maximum"], 1);
    assert.equal(own.stats["balloon.maximum"], 32_768n);
    await remote.domainResume({ dom });
    const status = JSON.parse(await qemu.domainMonitorCommand({ dom, cmd: '{"execute":"query-status"}', flags: 0 })) as {
      return: { status: string };
    };
    assert.equal(status.return.status, "running");
    assert.match(await qemu.domainMonitorCommand({ dom, cmd: "info status", flags: MonitorCommandFlags.HMP }), /running/);
    assert.deepEqual((await remote.domainGetJobStats({ dom, flags: 0 })).type, 0);
    await remote.domainDestroy({ dom });
  });
  const seen: number[] = [];
  for await (const next of lifecycle) {
    assert.equal(next.kind, "item");
    if (next.kind === "item" && next.item.dom.name === "tcg1") seen.push(next.item.event);
    if (seen.at(-1) === DomainEvent.UNDEFINED) break;
  }
  // Whether QEMU still tells of its shutdown before it is gone is a race.
  const { DEFINED, SHUTDOWN, STARTED, SUSPENDED, RESUMED, STOPPED, UNDEFINED } = DomainEvent;
  const steps = seen.filter((event) => event !== SHUTDOWN);
  assert.deepEqual(steps, [DEFINED, STARTED, SUSPENDED, RESUMED, STOPPED, UNDEFINED]);
  for await (const next of monitor) {
    assert.ok(next.kind === "item" && next.item.event === "RESUME" && next.item.dom.name === "tcg1");
    break;
  }
});

test("an agent that is not there is an error with libvirt's code, not a hang", async () => {
  await withDomain("tcg2", async (dom) => {
    await connection.remote.domainCreate({ dom });
    await assert.rejects(
      connection.agentCommand(dom, { execute: "guest-ping" }, { timeoutSeconds: 1 }),
      (error) => isLibvirtError(error, "AGENT_UNRESPONSIVE", "AGENT_COMMAND_TIMEOUT") && error.domainName === "QEMU",
    );
  });
});

test("typed parameters are accepted by the daemon: migration parameters reach the driver's own checks", async () => {
  await withDomain("tcg3", async (dom) => {
    const params = typedParams.encode({
      bandwidth: 10,
      migrate_uri: "tcp://127.0.0.1",
      migrate_disks: ["vda", "vdb"],
      "compression.mt.level": 3,
    });
    await assert.rejects(connection.remote.domainMigrateBegin3Params({ dom, params, flags: 1 }), (error) =>
      isLibvirtError(error, "OPERATION_INVALID"),
    );
  });
});

test("volumes: upload, sparse download and wipe through streams", async () => {
  const { remote } = connection;
  const target = daemon.directoryFor("pool");
  const pool = await remote.storagePoolCreateXml({
    xml: `<pool type='dir'><name>p</name><target><path>${target}</path></target></pool>`,
    flags: 0,
  });
  const mib = 1_048_576;
  const vol = await remote.storageVolCreateXml({
    pool,
    xml: `<volume><name>v.raw</name><capacity unit='bytes'>${8 * mib}</capacity><allocation>0</allocation><target><format type='raw'/></target></volume>`,
    flags: 0,
  });
  const data = Buffer.alloc(mib);
  for (let index = 0; index < data.length; index += 4) data.writeUInt32BE(index, index);
  {
    await using upload = await remote.storageVolUpload({ vol, offset: 0n, length: 0n, flags: StorageVolUploadFlags.SPARSE_STREAM });
    await upload.write(data);
    await upload.writeHole(BigInt(6 * mib));
    await upload.write(data);
    await upload.finish();
  }
  const whole = Buffer.concat([data, Buffer.alloc(6 * mib), data]);
  await using download = await remote.storageVolDownload({ vol, offset: 0n, length: 0n, flags: 0 });
  assert.ok(Buffer.concat(await Array.fromAsync(download)).equals(whole));
  await using sparse = await remote.storageVolDownload({ vol, offset: 0n, length: 0n, flags: StorageVolDownloadFlags.SPARSE_STREAM });
  let holes = 0n;
  let bytes = 0;
  for await (const chunk of sparse.chunks()) {
    if (chunk.kind === "hole") holes += chunk.length;
    else bytes += chunk.data.length;
  }
  assert.deepEqual([holes, bytes], [BigInt(6 * mib), 2 * mib]);
  const aborted = await remote.storageVolDownload({ vol, offset: 0n, length: 0n, flags: 0 });
  for await (const chunk of aborted) {
    assert.ok(chunk.length > 0);
    break;
  }
  await assert.rejects(aborted.write(data), { kind: "closed" });
  await assert.rejects(
    remote.storageVolDownload({ vol: { ...vol, key: "/nowhere", name: "nowhere" }, offset: 0n, length: 0n, flags: 0 }),
    (error) => isLibvirtError(error, "NO_STORAGE_VOL"),
  );
  await remote.storageVolDelete({ vol, flags: 0 });
  await remote.storagePoolDestroy({ pool });
});
