import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SshError } from "../src/ssh/index.ts";
import { openTransport, type OpenTransportOptions } from "../src/transport/open.ts";
import type { Transport } from "../src/transport/transport.ts";
import { parseUri } from "../src/uri/index.ts";
import { startSshd, type TestSshd } from "./ssh-fixture.ts";
import { startDaemon, type TestDaemon } from "./transport-fixture.ts";
import { authTypes } from "./transport-rpc.ts";

let daemon: TestDaemon;
let sshd: TestSshd;

before(async () => {
  daemon = await startDaemon();
  sshd = await startSshd({ namespaceOf: daemon.pid });
  await sshd.trust();
});
after(async () => {
  await sshd?.[Symbol.asyncDispose]();
  await daemon?.[Symbol.asyncDispose]();
});

const open = (query: string, options: OpenTransportOptions = {}): Promise<Transport> =>
  openTransport(parseUri(`test+ssh://root@127.0.0.1:${sshd.port}/default${query}`), {
    env: sshd.env,
    connectTimeoutMs: 15_000,
    ...options,
    ssh: { configFiles: false, ...options.ssh },
  });

test("Unix socket: the daemon answers", async () => {
  await using transport = await openTransport(parseUri(`test+unix:///default?socket=${daemon.socket}`));
  assert.deepEqual(await authTypes(transport), [0]);
  assert.equal(transport.secure, true);
});

for (const [query, way] of [
  ["", "virt-ssh-helper"],
  ["?proxy=native", "virt-ssh-helper"],
  ["?proxy=auto", "virt-ssh-helper"],
  ["?mode=legacy", "/var/run/libvirt/libvirt-sock"],
  ["?proxy=netcat", "netcat"],
  ["?netcat=/bin/nc", "netcat"],
] as const) {
  test(`SSH${query}: the daemon answers through ${way}`, async () => {
    await using transport = await open(query);
    assert.equal(transport.description, `ssh://root@127.0.0.1:${sshd.port} (${way})`);
    assert.deepEqual(await authTypes(transport), [0]);
  });
}

test("SSH?socket=: that very socket is used", async () => {
  await using transport = await open(`?socket=${daemon.socket}`);
  assert.match(transport.description, /libvirt-sock\)$/);
  assert.deepEqual(await authTypes(transport), [0]);
  await assert.rejects(open("?socket=/nowhere"), (error: unknown) => {
    assert.ok(error instanceof SshError && error.kind === "remote");
    assert.match((error.cause as Error).message, /refused to connect to the Unix socket \/nowhere.*no such socket/);
    return true;
  });
});
