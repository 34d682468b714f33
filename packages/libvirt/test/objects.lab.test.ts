import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  connect,
  type Connection,
  type EventSubscription,
  isLibvirtError,
  ListInterfacesFlags,
  NetworkUpdateCommand,
  NetworkUpdateSection,
  NodeDeviceEventLifecycle,
  SecretEventLifecycle,
  SecretUsageType,
  StoragePoolEventLifecycle,
} from "../src/index.ts";
import { type PrivateLibvirtd, startLibvirtd } from "./private-libvirtd.ts";

let daemon: PrivateLibvirtd;
/** libvirt's test driver, which has interfaces, node devices and networks of its own. */
let node: Connection;
/** Its real drivers of secrets and storage. */
let real: Connection;

before(async () => {
  daemon = await startLibvirtd();
  node = await connect(`test+unix:///default?socket=${daemon.socket}`);
  real = await connect(`qemu+unix:///session?socket=${daemon.socket}`);
});
after(async () => {
  await node?.close();
  await real?.close();
  await daemon?.[Symbol.asyncDispose]();
});

async function nextItem<Item>(subscription: EventSubscription<Item>): Promise<Item> {
  for await (const next of subscription) {
    assert.equal(next.kind, "item");
    if (next.kind === "item") return next.item;
  }
  throw new Error("the events ended");
}

const missing = (code: Parameters<typeof isLibvirtError>[1]) => (error: unknown) => isLibvirtError(error, code);

test("secrets: define, set, get, look up, list, watch, undefine", async () => {
  const { remote } = real;
  const uuid = "5a0ae0ab-5b7c-4d4e-9b6f-3f4e6a1d2c10";
  await using defined = real.events.secret("lifecycle");
  await using changed = real.events.secret("valueChanged");
  await Promise.all([defined.ready, changed.ready]);
  const xml = `<secret ephemeral='yes' private='no'><uuid>${uuid}</uuid><usage type='volume'><volume>/vm/a.luks</volume></usage></secret>`;
  const secret = await remote.secretDefineXml({ xml, flags: 0 });
  assert.deepEqual(secret, { uuid, usageType: SecretUsageType.VOLUME, usageId: "/vm/a.luks" });
  assert.deepEqual(await nextItem(defined), { secret, event: SecretEventLifecycle.DEFINED, detail: 0 });
  const value = Buffer.from([0, 1, 254, 255, 10]);
  await remote.secretSetValue({ secret, value, flags: 0 });
  assert.deepEqual((await nextItem(changed)).secret, secret);
  assert.ok(value.equals(await remote.secretGetValue({ secret, flags: 0 })));
  assert.deepEqual(await remote.secretLookupByUuid({ uuid }), secret);
  assert.deepEqual(await remote.secretLookupByUsage({ usageType: SecretUsageType.VOLUME, usageId: "/vm/a.luks" }), secret);
  assert.deepEqual((await remote.connectListAllSecrets({ needResults: 1, flags: 0 })).secrets, [secret]);
  assert.deepEqual(await remote.connectListSecrets({ maxuuids: 5 }), [uuid]);
  assert.match(await remote.secretGetXmlDesc({ secret, flags: 0 }), /ephemeral='yes'/);
  await remote.secretUndefine({ secret });
  await assert.rejects(remote.secretGetValue({ secret, flags: 0 }), missing("NO_SECRET"));
});

test("interfaces: list, look up, define in a change that is rolled back, create, destroy, undefine", async () => {
  const { remote } = node;
  const [eth1] = (await remote.connectListAllInterfaces({ needResults: 1, flags: ListInterfacesFlags.ACTIVE })).ifaces;
  assert.ok(eth1);
  assert.deepEqual(await remote.interfaceLookupByName({ name: eth1.name }), eth1);
  assert.deepEqual(await remote.interfaceLookupByMacString({ mac: eth1.mac }), eth1);
  assert.match(await remote.interfaceGetXmlDesc({ iface: eth1, flags: 0 }), /<interface type='ethernet' name='eth1'>/);
  const xml = "<interface type='ethernet' name='eth7'><start mode='onboot'/><mac address='02:00:00:00:00:07'/></interface>";
  await remote.interfaceChangeBegin({ flags: 0 });
  await remote.interfaceDefineXml({ xml, flags: 0 });
  await remote.interfaceChangeRollback({ flags: 0 });
  await assert.rejects(remote.interfaceLookupByName({ name: "eth7" }), missing("NO_INTERFACE"));
  const iface = await remote.interfaceDefineXml({ xml, flags: 0 });
  assert.equal(iface.mac, "02:00:00:00:00:07");
  assert.equal(await remote.interfaceIsActive({ iface }), 0);
  await remote.interfaceCreate({ iface, flags: 0 });
  assert.equal(await remote.interfaceIsActive({ iface }), 1);
  await remote.interfaceDestroy({ iface, flags: 0 });
  await remote.interfaceUndefine({ iface });
});

test("node devices: list, capabilities, parent, create, watch, destroy", async () => {
  const { remote } = node;
  const { devices } = await remote.connectListAllNodeDevices({ needResults: 1, flags: 0 });
  assert.ok(devices.some(({ name }) => name === "computer"));
  assert.deepEqual(await remote.nodeDeviceListCaps({ name: "computer", maxnames: 8 }), ["system"]);
  assert.equal(await remote.nodeDeviceGetParent({ name: "computer" }), null);
  await using events = node.events.nodeDevice("lifecycle");
  await events.ready;
  const parent = "scsi_host1";
  const xmlDesc = `<device><parent>${parent}</parent><capability type='scsi_host'><capability type='fc_host'>
    <wwnn>2000000077770001</wwnn><wwpn>1000000077770001</wwpn></capability></capability></device>`;
  const dev = await remote.nodeDeviceCreateXml({ xmlDesc, flags: 0 });
  assert.deepEqual(await nextItem(events), { dev, event: NodeDeviceEventLifecycle.CREATED, detail: 0 });
  assert.equal(await remote.nodeDeviceGetParent({ name: dev.name }), parent);
  assert.match(await remote.nodeDeviceGetXmlDesc({ name: dev.name, flags: 0 }), /<wwnn>2000000077770001/);
  assert.deepEqual(await remote.nodeDeviceLookupByName({ name: dev.name }), dev);
  await remote.nodeDeviceDestroy({ name: dev.name });
  await assert.rejects(remote.nodeDeviceLookupByName({ name: dev.name }), missing("NO_NODE_DEVICE"));
});

test("networks: define, start, change live, autostart, bridge, stop, undefine", async () => {
  const { remote } = node;
  const net = await remote.networkDefineXml({
    xml: `<network><name>lan</name><bridge name='br7'/><ip address='192.168.77.1' netmask='255.255.255.0'><dhcp>
      <range start='192.168.77.10' end='192.168.77.20'/></dhcp></ip></network>`,
  });
  await remote.networkCreate({ net });
  assert.deepEqual([await remote.networkIsActive({ net }), await remote.networkIsPersistent({ net })], [1, 1]);
  assert.equal(await remote.networkGetBridgeName({ net }), "br7");
  await remote.networkSetAutostart({ net, autostart: 1 });
  assert.equal(await remote.networkGetAutostart({ net }), 1);
  await remote.networkUpdate({
    net,
    command: NetworkUpdateCommand.ADD_LAST,
    section: NetworkUpdateSection.IP_DHCP_HOST,
    parentIndex: -1,
    xml: "<host mac='02:00:00:00:00:42' ip='192.168.77.15'/>",
    flags: 0,
  });
  assert.match(await remote.networkGetXmlDesc({ net, flags: 0 }), /02:00:00:00:00:42/);
  assert.deepEqual(await remote.networkLookupByUuid({ uuid: net.uuid }), net);
  await remote.networkDestroy({ net });
  await remote.networkUndefine({ net });
  await assert.rejects(remote.networkLookupByName({ name: "lan" }), missing("NO_NETWORK"));
});

test("storage: define and build a pool, make, grow, clone, find and delete volumes, with the pool's events", async () => {
  const { remote } = real;
  const target = daemon.directoryFor("store");
  await using events = real.events.storagePool("lifecycle");
  await events.ready;
  const pool = await remote.storagePoolDefineXml({
    xml: `<pool type='dir'><name>store</name><target><path>${target}</path></target></pool>`,
    flags: 0,
  });
  assert.deepEqual(await nextItem(events), { pool, event: StoragePoolEventLifecycle.DEFINED, detail: 0 });
  await remote.storagePoolBuild({ pool, flags: 0 });
  await remote.storagePoolCreate({ pool, flags: 0 });
  const { capacity, available } = await remote.storagePoolGetInfo({ pool });
  assert.ok(capacity > available && available > 0n);
  const volumeXml = (name: string): string =>
    `<volume><name>${name}</name><capacity unit='MiB'>8</capacity><target><format type='qcow2'/></target></volume>`;
  const vol = await remote.storageVolCreateXml({ pool, xml: volumeXml("a.qcow2"), flags: 0 });
  assert.equal(vol.key, `${target}/a.qcow2`);
  await remote.storageVolResize({ vol, capacity: 16_777_216n, flags: 0 });
  assert.equal((await remote.storageVolGetInfo({ vol })).capacity, 16_777_216n);
  const clone = await remote.storageVolCreateXmlFrom({ pool, xml: volumeXml("b.qcow2"), clonevol: vol, flags: 0 });
  assert.deepEqual(await remote.storageVolLookupByPath({ path: `${target}/b.qcow2` }), clone);
  assert.deepEqual(await remote.storagePoolLookupByVolume({ vol: clone }), pool);
  const { vols } = await remote.storagePoolListAllVolumes({ pool, needResults: 1, flags: 0 });
  assert.deepEqual(vols.map(({ name }) => name).sort(), ["a.qcow2", "b.qcow2"]);
  for (const each of vols) await remote.storageVolDelete({ vol: each, flags: 0 });
  await remote.storagePoolDestroy({ pool });
  await remote.storagePoolUndefine({ pool });
  await assert.rejects(remote.storagePoolLookupByName({ name: "store" }), missing("NO_STORAGE_POOL"));
});
