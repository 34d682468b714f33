import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { connectOver, openTcp, openUnix } from "../src/index.ts";
import { type PrivateLibvirtd, startLibvirtd } from "./private-libvirtd.ts";

let daemon: PrivateLibvirtd;
before(async () => {
  daemon = await startLibvirtd();
});
after(() => daemon[Symbol.asyncDispose]());

test("lists the test driver's domain over the Unix socket", async () => {
  await using connection = await connectOver(await openUnix(daemon.socket), { driverUri: "test:///default" });
  const { domains, ret } = await connection.remote.connectListAllDomains({ needResults: 1, flags: 0 });
  assert.equal(ret, 1);
  assert.equal(domains[0]?.name, "test");
  assert.match(await connection.remote.domainGetXmlDesc({ dom: domains[0], flags: 0 }), /^<domain type='test'/);
});

test("opens the QEMU driver over TCP", async () => {
  await using connection = await connectOver(await openTcp("127.0.0.1", daemon.tcpPort), { driverUri: "qemu:///session" });
  assert.equal(await connection.remote.connectGetUri(), "qemu:///session");
});
