import assert from "node:assert/strict";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect, type Connection, DomainEvent, type Environment, isLibvirtError, LibvirtError } from "../src/index.ts";
import { type PrivateLibvirtd, startLibvirtd, testDriverXml } from "./private-libvirtd.ts";

// Debian 12 does not build virtqemud and virtproxyd. They are libvirtd's own source with fewer drivers, behind other
// sockets; what differs for a client is which socket it chooses, and that virtproxyd forwards to another daemon. Here
// the sockets are laid out as modular daemons lay them out, and libvirtd forwards through the driver that virtproxyd uses.

const uuids = { driver: "11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa", proxy: "22222222-bbbb-4bbb-8bbb-bbbbbbbbbbbb" };
/** Behind virtqemud's socket. */
let driver: PrivateLibvirtd;
/** Behind libvirtd's socket, where a modular host has virtproxyd. */
let proxy: PrivateLibvirtd;
let env: Environment;

before(async () => {
  [driver, proxy] = await Promise.all([startLibvirtd({ host_uuid: uuids.driver }), startLibvirtd({ host_uuid: uuids.proxy })]);
  const run = join(proxy.directory, "run");
  symlinkSync(driver.socket, join(run, "libvirt/virtqemud-sock"));
  env = { variables: { XDG_RUNTIME_DIR: run }, home: "/nonexistent", userName: "nobody", uid: 65_534 };
});
after(async () => {
  await driver?.[Symbol.asyncDispose]();
  await proxy?.[Symbol.asyncDispose]();
});

const hostUuid = async ({ remote }: Connection): Promise<string | undefined> =>
  /<host>\s*<uuid>(.*)<\/uuid>/.exec(await remote.connectGetCapabilities())?.[1];

for (const [query, daemon] of [
  ["", "driver"],
  ["?mode=auto", "driver"],
  ["?mode=direct", "driver"],
  ["?mode=legacy", "proxy"],
] as const) {
  test(`qemu:///session${query} reaches ${daemon === "driver" ? "the driver's own daemon" : "the socket that libvirtd had"}`, async () => {
    await using connection = await connect(`qemu:///session${query}`, { env });
    assert.equal(await hostUuid(connection), uuids[daemon]);
  });
}

test("a driver without a daemon of its own is asked for at libvirtd's socket, or said to be missing", async () => {
  await using connection = await connect(`test+unix:///default`, { env });
  assert.equal(await connection.remote.connectGetType(), "TEST");
  await assert.rejects(
    connect("test+unix:///default?mode=direct", { env }),
    (error) => error instanceof LibvirtError && error.kind === "connection-lost" && /virttestd-sock does not exist/.test(error.message),
  );
});

/** Through the proxy's remote driver to a driver of the other daemon. */
const through = (path: string, name: string): string =>
  `qemu+unix:///session?socket=${proxy.socket}&name=${encodeURIComponent(`${name}+tcp://127.0.0.1:${driver.tcpPort}${path}`)}`;

test("through a proxy: a thousand domains, errors with their codes, and events", async () => {
  const file = driver.file("node.xml", testDriverXml(1000));
  await using connection = await connect(through(file, "test"));
  const { remote } = connection;
  const domains = await connection.listDomains();
  const xml = await Promise.all(domains.map((dom) => remote.domainGetXmlDesc({ dom, flags: 0 })));
  assert.ok(domains.length === 1000 && xml.every((text, index) => text.includes(domains[index]!.uuid)));
  await assert.rejects(remote.domainLookupByName({ name: "nobody" }), (error) => isLibvirtError(error, "NO_DOMAIN"));
  await using lifecycle = connection.events.domain("lifecycle");
  await lifecycle.ready;
  await remote.domainSuspend({ dom: domains[7]! });
  for await (const next of lifecycle) {
    assert.ok(next.kind === "item" && next.item.event === DomainEvent.SUSPENDED && next.item.dom.uuid === domains[7]!.uuid);
    break;
  }
});

test("through a proxy: streams in both directions", async () => {
  await using connection = await connect(through("/session", "qemu"));
  const { remote } = connection;
  const target = driver.directoryFor("pool");
  const poolXml = `<pool type='dir'><name>p</name><target><path>${target}</path></target></pool>`;
  const pool = await remote.storagePoolCreateXml({ xml: poolXml, flags: 0 });
  const volXml = "<volume><name>v</name><capacity unit='MiB'>4</capacity><target><format type='raw'/></target></volume>";
  const vol = await remote.storageVolCreateXml({ pool, xml: volXml, flags: 0 });
  const data = Buffer.alloc(4_194_304, "forwarded");
  {
    await using upload = await remote.storageVolUpload({ vol, offset: 0n, length: 0n, flags: 0 });
    await upload.write(data);
    await upload.finish();
  }
  const download = await remote.storageVolDownload({ vol, offset: 0n, length: 0n, flags: 0 });
  assert.ok(Buffer.concat(await Array.fromAsync(download)).equals(data));
  await remote.storagePoolDestroy({ pool });
});

test("the daemon behind the proxy dies: the connection says that it lost its hypervisor, though the proxy is there", async () => {
  const connection = await connect(through("/default", "test"));
  await driver[Symbol.asyncDispose]();
  const reason = await connection.closed;
  assert.ok(reason?.kind === "connection-lost" && /lost its hypervisor/.test(reason.message), String(reason));
  await connection.close();
  await using other = await connect(`test+unix:///default?socket=${proxy.socket}`);
  assert.equal(await other.remote.connectGetType(), "TEST");
});
