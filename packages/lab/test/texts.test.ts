import assert from "node:assert/strict";
import { test } from "node:test";
import { hostNames, labNetworks } from "../src/addresses.ts";
import { domainXml } from "../src/guest/definition.ts";
import { guestRecord } from "../src/guest/create.ts";
import type { LabHost } from "../src/host.ts";
import { etcFiles, type LabFacts } from "../src/host-files.ts";
import { hostBatches, switchBatches } from "../src/switch.ts";

const facts: LabFacts = {
  id: "demo",
  networks: labNetworks(3),
  hosts: hostNames.slice(0, 2).map((name, index) => ({ name, index, uuid: `11111111-2222-4333-8444-5555555555${index}0` })),
};
const alpha = { name: "alpha" } as LabHost;

function etc(path: string): string {
  const file = etcFiles(facts, facts.hosts[1]!, { path: "/usr/sbin/sshd", libraryPath: undefined }).find((one) => one.path === path);
  assert.ok(file, path);
  return "link" in file ? file.link : file.text;
}

test("every host knows every host by name, and asks no resolver", () => {
  assert.equal(etc("hostname"), "bravo.demo\n");
  assert.match(etc("hosts"), /^10\.203\.1\.1 alpha\.demo alpha$/m);
  assert.match(etc("hosts"), /^10\.203\.1\.2 bravo\.demo bravo$/m);
  assert.match(etc("nsswitch.conf"), /^hosts: files$/m);
});

test("libvirtd has the host's own UUID, and listens with TLS on the management network only", () => {
  const conf = etc("libvirt/libvirtd.conf");
  for (const line of [`host_uuid = "${facts.hosts[1]!.uuid}"`, "listen_tls = 1", "listen_tcp = 0", 'listen_addr = "10.203.1.2"']) {
    assert.ok(conf.split("\n").includes(line), line);
  }
});

test("pools start with libvirtd, each with a UUID of its own", () => {
  const uuids = ["shared", "local"].map((pool) => {
    assert.equal(etc(`libvirt/storage/autostart/${pool}.xml`), `/etc/libvirt/storage/${pool}.xml`);
    return /<uuid>(.*)<\/uuid>/.exec(etc(`libvirt/storage/${pool}.xml`))?.[1];
  });
  assert.equal(new Set(uuids).size, 2);
});

test("an sshd that is only unpacked brings its libraries", () => {
  const files = etcFiles(facts, facts.hosts[0]!, { path: "/x/sshd", libraryPath: "/x/lib:/x/usr/lib" });
  const services = files.find((file) => file.path === "godwit-lab/services");
  assert.match(services && "text" in services ? services.text : "", /^ {2}LD_LIBRARY_PATH=\/x\/lib:\/x\/usr\/lib \/x\/sshd /m);
});

test("only the management bridge has a port in the machine's own namespace", () => {
  const [bridges, uplink, port] = switchBatches(3, facts.networks);
  assert.deepEqual(
    bridges?.lines.filter((line) => line.startsWith("link add")).map((line) => line.split(" ")[2]),
    ["mgmt", "migr", "stor", "spar"],
  );
  assert.equal(uplink?.namespace, undefined);
  assert.deepEqual(
    uplink?.lines.filter((line) => /^(link|address) add/.test(line)),
    [
      "link add gwlab3 mtu 1500 type veth peer name uplink mtu 1500 netns switch",
      "address add 10.203.1.254/24 dev gwlab3",
      "address add fd67:6f64:7703:1::fe/64 dev gwlab3 nodad",
    ],
  );
  assert.deepEqual(port?.lines, ["link set uplink master mgmt", "link set uplink up"]);
});

test("a host has one interface on each network, and a bridge for its guests that leads nowhere", () => {
  const [ports, own] = hostBatches({ name: "bravo", index: 1 }, facts.networks);
  assert.equal(ports?.lines[0], "link add bravo-mgmt mtu 1500 type veth peer name mgmt0 mtu 1500 netns bravo");
  assert.equal(ports?.lines.length, 12);
  assert.ok(own?.lines.includes("address add fd67:6f64:7703:2::2/64 dev migr0 nodad"));
  assert.ok(own?.lines.some((line) => line.startsWith("link add br-guests type bridge")));
});

test("a guest is the same machine on every host", () => {
  const guest = guestRecord({
    name: "web",
    host: alpha,
    disk: "local",
    extraDisks: [{ sizeMiB: 8, format: "raw", storage: "shared" }],
    nics: 2,
  });
  const xml = domainXml(guest);
  assert.match(xml, /<domain type='qemu' /);
  assert.match(xml, /machine='pc-i440fx-7\.2'/);
  assert.match(xml, /<model fallback='forbid'>qemu64<\/model>/);
  assert.match(xml, /<source file='\/srv\/local\/web-vda\.qcow2'\/>/);
  assert.match(xml, /type='raw' cache='none' discard='unmap'\/>\n\s*<source file='\/srv\/shared\/web-vdb\.raw'\/>/);
  assert.equal(xml.match(/<source bridge='br-guests'\/>/g)?.length, 2);
  assert.match(xml, /<source path='\/srv\/acks\/web\.log' append='on'\/>/);
  assert.match(xml, /godwit\.records=8192,10/);
  assert.doesNotMatch(xml, /godwit\.dirty/);
  const kib = Number(/memory-backend-ram,id=odd,size=(\d+)k/.exec(xml)?.[1]);
  assert.notEqual(kib % 256, 0, "what is written while it moves is always noticed");
  assert.equal(new Set(xml.match(/52:54:00(:[0-9a-f]{2}){3}/g)).size, 2);
});

test("workloads are switched by the command line", () => {
  const xml = domainXml(guestRecord({ name: "idle", host: alpha, workload: false, dirtyMemory: { MiBPerSecond: 20 } }));
  assert.doesNotMatch(xml, /godwit\.records=/);
  assert.match(xml, /godwit\.dirty=20,1048576,20[ <]/);
});

test("guests that cannot be are refused with the reason", () => {
  assert.throws(() => guestRecord({ name: "Web 1", host: alpha }), { kind: "invalid", message: /cannot name a guest/ });
  assert.throws(() => guestRecord({ name: "web", host: alpha, recordSlots: 100_000 }), { kind: "invalid", message: /do not fit a disk/ });
  assert.throws(() => guestRecord({ name: "web", host: alpha, dirtyMemory: { MiBPerSecond: 100 } }), {
    kind: "invalid",
    message: /more than 192/,
  });
});
