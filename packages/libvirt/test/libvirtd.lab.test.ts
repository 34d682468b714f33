import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  connect,
  type Connection,
  DomainEvent,
  DomainState,
  DomainXmlFlags,
  isLibvirtError,
  LibvirtError,
  NetworkEventLifecycle,
} from "../src/index.ts";
import { type PrivateLibvirtd, startLibvirtd, testDriverXml } from "./private-libvirtd.ts";

const many = 1000;
let daemon: PrivateLibvirtd;
/** Gives up on clients that are silent for three seconds, so that what keeps a connection alive shows soon. */
let impatient: PrivateLibvirtd;
let file: string;

before(async () => {
  [daemon, impatient] = await Promise.all([startLibvirtd(), startLibvirtd({ keepalive_interval: 1, keepalive_count: 2 })]);
  file = daemon.file("node.xml", testDriverXml(many));
});
after(async () => {
  await daemon?.[Symbol.asyncDispose]();
  await impatient?.[Symbol.asyncDispose]();
});

const overUnix = (path: string, of = daemon): string => `test+unix://${path}?socket=${of.socket}`;
const overTcp = (path: string): string => `test+tcp://127.0.0.1:${daemon.tcpPort}${path}`;

for (const [transport, uri] of [
  ["Unix", overUnix],
  ["TCP", overTcp],
] as const) {
  test(`a thousand domains over ${transport}: list, state and XML of each, in step`, async () => {
    await using connection = await connect(uri(file));
    const { remote } = connection;
    assert.equal(await remote.connectGetType(), "TEST");
    const domains = await connection.listDomains();
    assert.equal(domains.length, many);
    const states = await Promise.all(domains.map((dom) => remote.domainGetState({ dom, flags: 0 })));
    assert.ok(states.every(({ state }) => state === DomainState.RUNNING));
    const xml = await Promise.all(domains.map((dom) => remote.domainGetXmlDesc({ dom, flags: DomainXmlFlags.SECURE })));
    for (const [index, text] of xml.entries()) assert.ok(text.includes(`<name>${domains[index]!.name}</name>`));
    const stats = await connection.getAllDomainStats();
    assert.equal(stats.length, many);
    assert.equal(stats[0]?.stats["state.state"], DomainState.RUNNING);
  });
}

test("hosts: what a node tells of itself", async () => {
  await using connection = await connect(overUnix("/default"));
  const { remote } = connection;
  assert.equal(await remote.connectGetLibVersion(), 9_000_000n);
  assert.equal(await remote.connectGetUri(), "test:///default");
  assert.match(await remote.connectGetCapabilities(), /<capabilities>/);
  assert.equal((await remote.nodeGetInfo()).model, "i686");
  assert.ok((await remote.nodeGetFreeMemory()) > 0n);
  assert.deepEqual((await remote.connectListAllNetworks({ needResults: 1, flags: 0 })).nets[0]?.name, "default");
  assert.deepEqual((await remote.connectListAllStoragePools({ needResults: 1, flags: 0 })).pools[0]?.name, "default-pool");
  assert.ok((await remote.connectListAllNodeDevices({ needResults: 1, flags: 0 })).ret > 0);
  assert.match(await remote.connectGetSysinfo({ flags: 0 }), /<sysinfo/);
});

test("errors carry libvirt's code, domain, level and texts", async () => {
  await using connection = await connect(overUnix("/default"));
  const error = await connection.remote.domainLookupByName({ name: "nobody" }).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof LibvirtError);
  assert.deepEqual(
    [error.kind, error.codeName, error.code, error.domainName, error.remote?.level, error.remote?.str1],
    ["libvirt", "NO_DOMAIN", 42, "TEST", 2, "Domain not found"],
  );
  assert.deepEqual(error.context, { procedure: "domainLookupByName", code: "NO_DOMAIN", domain: "TEST" });
});

test("a read-only connection is refused what changes something", async () => {
  await using connection = await connect(overTcp("/default"), { readOnly: true });
  const [dom] = await connection.listDomains();
  await assert.rejects(connection.remote.domainDestroy({ dom: dom! }), (error) => isLibvirtError(error, "OPERATION_DENIED"));
});

test("a driver that the daemon does not have is libvirt's error, and nothing stays open", async () => {
  await assert.rejects(connect(`xen+tcp://127.0.0.1:${daemon.tcpPort}/system`), (error) => isLibvirtError(error, "NO_CONNECT"));
});

test("events of domains, networks and storage pools arrive, for one domain or all", async () => {
  await using connection = await connect(overUnix("/default"));
  const { remote } = connection;
  const [dom] = await connection.listDomains();
  const net = await remote.networkLookupByName({ name: "default" });
  const pool = await remote.storagePoolLookupByName({ name: "default-pool" });
  await using all = connection.events.domain("lifecycle");
  await using one = connection.events.domain("lifecycle", { dom: dom! });
  await using networks = connection.events.network("lifecycle", { net });
  await using refreshed = connection.events.storagePool("refresh", { pool });
  await Promise.all([all.ready, one.ready, networks.ready, refreshed.ready]);
  await remote.domainSuspend({ dom: dom! });
  await remote.networkDestroy({ net });
  await remote.storagePoolRefresh({ pool, flags: 0 });
  for await (const next of all) {
    assert.ok(next.kind === "item" && next.item.event === DomainEvent.SUSPENDED && next.item.dom.name === "test");
    break;
  }
  for await (const next of one) {
    assert.ok(next.kind === "item" && next.item.dom.uuid === dom!.uuid);
    break;
  }
  for await (const next of networks) {
    assert.ok(next.kind === "item" && next.item.event === NetworkEventLifecycle.STOPPED);
    break;
  }
  for await (const next of refreshed) {
    assert.ok(next.kind === "item" && next.item.pool.name === "default-pool");
    break;
  }
});

test("a storm of cancellations leaves a real daemon's connection in step", async () => {
  await using connection = await connect(overUnix(file));
  const domains = await connection.listDomains();
  const outcomes = await Promise.allSettled(
    domains.map(async (dom, index) => {
      const abort = new AbortController();
      const call = connection.remote.domainGetXmlDesc({ dom, flags: 0 }, { signal: abort.signal });
      if (index % 3 === 0) setImmediate(() => abort.abort());
      const xml = await call;
      assert.ok(xml.includes(dom.uuid));
    }),
  );
  assert.ok(outcomes.some(({ status }) => status === "rejected"));
  assert.equal((await connection.listDomains()).length, many);
});

async function withFrozen(connection: Connection, body: () => Promise<void>): Promise<void> {
  daemon.freeze(true);
  try {
    await body();
  } finally {
    daemon.freeze(false);
    await connection.close();
  }
}

test("a daemon that stands still is noticed within the limit, with a call pending", async () => {
  const connection = await connect(overTcp("/default"), { keepalive: { intervalMs: 500, count: 3 } });
  await withFrozen(connection, async () => {
    const started = performance.now();
    // Without keepalive the call would wait until the deadline, and end with that.
    await assert.rejects(
      connection.remote.connectGetHostname({ signal: AbortSignal.timeout(30_000) }),
      (error) => error instanceof LibvirtError && error.kind === "connection-lost",
    );
    assert.ok(performance.now() - started > 1000, "three questions were given the time to be answered");
  });
});

test("an idle connection outlives the daemon's own patience, because its questions are answered", async () => {
  await using connection = await connect(overUnix("/default", impatient), { keepalive: { intervalMs: 0 } });
  const abort = AbortSignal.timeout(5500);
  await assert.rejects(Array.fromAsync(connection.events.domain("reboot", { signal: abort })), { name: "TimeoutError" });
  assert.equal(await connection.remote.connectGetType(), "TEST");
});

test("a reader that pauses a download longer than the daemon's patience keeps its connection", async () => {
  const target = impatient.directoryFor("pool");
  await using connection = await connect(`qemu+unix:///session?socket=${impatient.socket}`, {
    streamBufferBytes: 100_000,
    keepalive: { intervalMs: 1000, count: 5 },
  });
  const { remote } = connection;
  const pool = await remote.storagePoolCreateXml({
    xml: `<pool type='dir'><name>slow</name><target><path>${target}</path></target></pool>`,
    flags: 0,
  });
  const size = 8_388_608;
  const vol = await remote.storageVolCreateXml({
    pool,
    xml: `<volume><name>v.raw</name><capacity>${size}</capacity><target><format type='raw'/></target></volume>`,
    flags: 0,
  });
  await using stream = await remote.storageVolDownload({ vol, offset: 0n, length: 0n, flags: 0 });
  let bytes = 0;
  for await (const chunk of stream) {
    // The daemon asks every second and gives up after three: twice that of not reading would be the end.
    if (bytes === 0) await new Promise((resolve) => setTimeout(resolve, 6000));
    bytes += chunk.length;
  }
  assert.equal(bytes, size);
  await remote.storageVolDelete({ vol, flags: 0 });
  await remote.storagePoolDestroy({ pool });
});
