import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { describeError } from "@godwit/core";
import { connect, type ConnectUriOptions, LibvirtError, openSsh, SshError, UriError } from "../src/index.ts";
import { startSshd, type TestSshd } from "./ssh-fixture.ts";
import { goodServer, makePki, type TestPki } from "./tls-fixture.ts";
import { password, startDaemon, type TestDaemon } from "./transport-fixture.ts";

let pki: TestPki;
let clientPki: string;
let daemon: TestDaemon;
let sshd: TestSshd;

before(async () => {
  pki = await makePki();
  clientPki = await pki.client("client");
  daemon = await startDaemon({ pki: await pki.server("server", goodServer), tcp: true });
  sshd = await startSshd({ namespaceOf: daemon.pid });
  await sshd.trust();
});
after(async () => {
  await sshd?.[Symbol.asyncDispose]();
  await daemon?.[Symbol.asyncDispose]();
  await pki?.[Symbol.asyncDispose]();
});

async function domainNames(uri: string, options: ConnectUriOptions = {}): Promise<readonly string[]> {
  await using connection = await connect(uri, { env: sshd.env, ...options, ssh: { configFiles: false, ...options.ssh } });
  return (await connection.remote.connectListAllDomains({ needResults: 1, flags: 0 })).domains.map(({ name }) => name);
}

const over: readonly [name: string, uri: () => string][] = [
  ["unix", () => `test+unix:///default?socket=${daemon.socket}`],
  ["tcp", () => `test+tcp://127.0.0.1:${daemon.tcpPort}/default`],
  ["tls", () => `test+tls://127.0.0.1:${daemon.tlsPort}/default?pkipath=${clientPki}`],
  ["ssh and virt-ssh-helper", () => `test+ssh://root@127.0.0.1:${sshd.port}/default`],
  ["ssh and a forwarded socket", () => `test+ssh://root@127.0.0.1:${sshd.port}/default?mode=legacy`],
  ["ssh and netcat", () => `test+ssh://root@127.0.0.1:${sshd.port}/default?proxy=netcat`],
];

for (const [name, uri] of over) {
  test(`connect over ${name} lists the test driver's domains, and QEMU's where it is the driver`, async () => {
    assert.deepEqual(await domainNames(uri()), ["test"]);
    assert.deepEqual(await domainNames(uri().replace("test+", "qemu+").replace("/default", "/system")), []);
  });
}

test("remote+ssh lets the daemon choose, name= overrides the driver, read-only cannot write", async () => {
  assert.deepEqual(await domainNames(`remote+ssh://root@127.0.0.1:${sshd.port}/`), []);
  assert.deepEqual(await domainNames(`qemu+ssh://root@127.0.0.1:${sshd.port}/system?name=test:///default`), ["test"]);
  await using connection = await connect(`test+ssh://root@127.0.0.1:${sshd.port}/default`, {
    env: sshd.env,
    ssh: { configFiles: false },
    readOnly: true,
  });
  await assert.rejects(
    connection.remote.domainDefineXml({ xml: "<domain/>" }),
    (error: unknown) => error instanceof LibvirtError && error.codeName === "OPERATION_DENIED",
  );
});

test("a session is shared by the transport and by commands, and outlives the connection", async () => {
  await using session = await openSsh(sshd.options());
  assert.deepEqual(await domainNames(`test+ssh://root@127.0.0.1:${sshd.port}/default`, { ssh: { session } }), ["test"]);
  assert.equal((await session.exec(["hostname"])).code, 0);
});

test("SASL through SSH: the daemon sees a Unix socket", async () => {
  await using sasl = await startDaemon({ config: 'auth_unix_rw = "sasl"', mechanisms: ["SCRAM-SHA-256"] });
  const uri = `test+ssh://root@127.0.0.1:${sshd.port}/default?socket=${sasl.socket}&auth=sasl`;
  assert.deepEqual(await domainNames(uri, { sasl: { credentials: { username: "godwit", password } } }), ["test"]);
});

test("when no way leads to libvirt, every way says why", async () => {
  await using bare = await startSshd({ config: "AllowStreamLocalForwarding no\n" });
  await bare.trust();
  const options = { env: bare.env, ssh: { configFiles: false as const } };
  await assert.rejects(connect(`test+ssh://root@127.0.0.1:${bare.port}/default?mode=legacy&socket=/nowhere`, options), (error: unknown) => {
    assert.ok(error instanceof SshError && error.kind === "remote");
    assert.match(error.message, /check that libvirtd/);
    assert.match((error.cause as Error).message, /refused to connect to the Unix socket \/nowhere.*\/nowhere: no such socket/);
    return true;
  });
  await assert.rejects(connect(`test+ssh://root@127.0.0.1:${bare.port}/default?netcat=/no/nc`, options), /no way to libvirt/);
});

test("the helper's own complaint reaches the caller", async () => {
  // Outside the daemon's namespace there is no daemon.
  await using bare = await startSshd();
  await bare.trust();
  const opening = connect(`test+ssh://root@127.0.0.1:${bare.port}/default`, { env: bare.env, ssh: { configFiles: false } });
  await assert.rejects(opening, (error: unknown) => {
    assert.ok(error instanceof LibvirtError && error.kind === "connection-lost");
    assert.match(describeError(error), /virt-ssh-helper failed with exit code 1: .*cannot connect to .*libvirt-sock/);
    return true;
  });
});

test("what weakens security needs an option beside the URI; what names a program is refused", async () => {
  const uri = `test+ssh://root@127.0.0.1:${sshd.port}/default?known_hosts=/dev/null&`;
  for (const weak of ["known_hosts_verify=ignore", "known_hosts_verify=auto", "no_verify=1"]) {
    await assert.rejects(
      domainNames(uri + weak),
      (error: unknown) => error instanceof UriError && error.kind === "insecure" && /allowHostKeyPolicy/.test(error.message),
      weak,
    );
  }
  assert.deepEqual(await domainNames(`${uri}known_hosts_verify=ignore`, { ssh: { allowHostKeyPolicy: "ignore" } }), ["test"]);
  await assert.rejects(domainNames(`${uri}known_hosts_verify=ignore`, { ssh: { allowHostKeyPolicy: "accept-new" } }), UriError);
  await assert.rejects(
    domainNames(`${uri}command=/usr/bin/ssh`),
    (error: unknown) => error instanceof UriError && error.kind === "unsupported",
  );
});

test("a socket that is not there says so, with the way out", async () => {
  await assert.rejects(
    connect("test+unix:///default?socket=/nowhere"),
    (error: unknown) =>
      error instanceof LibvirtError && error.kind === "connection-lost" && /does not exist; start the libvirt daemon/.test(error.message),
  );
});
