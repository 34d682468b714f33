import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { connectOver } from "../src/connection.ts";
import { authenticator } from "../src/sasl/index.ts";
import { openTransport, type OpenTransportOptions } from "../src/transport/open.ts";
import { TlsError, type TlsErrorKind } from "../src/transport/tls.ts";
import type { Transport } from "../src/transport/transport.ts";
import { type Environment, parseUri, UriError } from "../src/uri/index.ts";
import { expiredServer, goodServer, makePki, otherServer, type TestPki } from "./tls-fixture.ts";
import { password, startDaemon, type TestDaemon } from "./transport-fixture.ts";

let pki: TestPki;
let good: TestDaemon;
let client: string;
let serverPki: string;

before(async () => {
  pki = await makePki();
  serverPki = await pki.server("server", goodServer);
  client = await pki.client("client");
  good = await startDaemon({ pki: serverPki });
});
after(async () => {
  await good?.[Symbol.asyncDispose]();
  await pki?.[Symbol.asyncDispose]();
});

const nobody: Environment = { variables: {}, home: "/nonexistent", userName: "nobody", uid: 65_534 };

function open(port: number, query: string, options: OpenTransportOptions = {}): Promise<Transport> {
  return openTransport(parseUri(`test+tls://127.0.0.1:${port}/default${query}`), { env: nobody, connectTimeoutMs: 30_000, ...options });
}

async function domainNames(transport: Transport, options = {}): Promise<readonly string[]> {
  await using connection = await connectOver(transport, { driverUri: "test:///default", ...options });
  return (await connection.remote.connectListAllDomains({ needResults: 1, flags: 0 })).domains.map(({ name }) => name);
}

const tlsError =
  (kind: TlsErrorKind, says = /./) =>
  (error: unknown) =>
    error instanceof TlsError && error.kind === kind && says.test(error.message);

test("certificates of one CA on both sides: domains are listed, by address and by name, with TLS 1.3 and 1.2", async () => {
  const transport = await open(good.tlsPort, `?pkipath=${client}`);
  assert.equal(transport.description, `tls://127.0.0.1:${good.tlsPort}`);
  assert.equal(transport.secure, true);
  assert.deepEqual(await domainNames(transport), ["test"]);
  const byName = await openTransport(
    parseUri(`test://localhost:${good.tlsPort}/default?pkipath=${client}&tls_priority=NORMAL:-VERS-TLS1.3`),
    { env: nobody },
  );
  assert.deepEqual(await domainNames(byName), ["test"]);
});

test("certificates as options instead of files", async () => {
  const [ca, cert, key] = await Promise.all(
    ["cacert", "clientcert", "clientkey"].map((name) => readFile(join(client, `${name}.pem`), "utf8")),
  );
  assert.deepEqual(await domainNames(await open(good.tlsPort, "", { tls: { credentials: { ca: ca!, cert, key } } })), ["test"]);
});

test("our CA does not vouch for the server: untrusted", async () => {
  const stranger = await pki.client("trusts-bad", { trusts: "bad" });
  await assert.rejects(open(good.tlsPort, `?pkipath=${stranger}`), tlsError("untrusted", /cacert\.pem/));
});

test("a server of another name: name; serverName says what to expect", async () => {
  await using daemon = await startDaemon({ pki: await pki.server("other", otherServer) });
  await assert.rejects(open(daemon.tlsPort, `?pkipath=${client}`), tlsError("name", /serverName/));
  assert.deepEqual(await domainNames(await open(daemon.tlsPort, `?pkipath=${client}`, { tls: { serverName: "elsewhere.example" } })), [
    "test",
  ]);
});

test("an expired server certificate: expired", async () => {
  await using daemon = await startDaemon({ pki: await pki.server("expired", expiredServer) });
  await assert.rejects(open(daemon.tlsPort, `?pkipath=${client}`), tlsError("expired", /renew/));
});

test("no client certificate, or one of a stranger: refused by the daemon, and we wait for its word", async () => {
  const ca = await readFile(join(client, "cacert.pem"), "utf8");
  await assert.rejects(open(good.tlsPort, "", { tls: { credentials: { ca } } }), tlsError("refused", /tls_allowed_dn_list/));
  const stranger = await pki.client("signed-by-bad", { signedBy: "bad" });
  await assert.rejects(open(good.tlsPort, `?pkipath=${stranger}`), tlsError("refused"));
});

test("no_verify needs an explicit option as well", async () => {
  await using daemon = await startDaemon({ pki: await pki.server("unverified", otherServer, "bad") });
  await assert.rejects(
    open(daemon.tlsPort, `?pkipath=${client}&no_verify=1`),
    (error: unknown) => error instanceof UriError && error.kind === "insecure",
  );
  assert.deepEqual(await domainNames(await open(daemon.tlsPort, `?pkipath=${client}&no_verify=1`, { tls: { allowNoVerify: true } })), [
    "test",
  ]);
});

test("missing or half files are named, all of them", async () => {
  await assert.rejects(
    open(good.tlsPort, `?pkipath=${pki.dir}/nowhere`),
    tlsError("files", /nowhere\/cacert\.pem, .*clientcert\.pem, .*clientkey\.pem/),
  );
  const halfway = await pki.client("no-certificate", { certificate: false });
  await assert.rejects(
    open(good.tlsPort, `?pkipath=${halfway}`),
    tlsError("files", /no-certificate\/clientcert\.pem, .*clientkey\.pem cannot/),
  );
  await assert.rejects(open(good.tlsPort, "", { tls: { credentials: { ca: "x", cert: "y" } } }), tlsError("files", /not both/));
  await assert.rejects(open(good.tlsPort, "", { tls: { credentials: { ca: "x", cert: "y", key: "z" } } }), tlsError("files", /PEM/));
});

for (const mechanism of ["SCRAM-SHA-256", "PLAIN"]) {
  test(`SASL ${mechanism} over TLS lists domains`, async () => {
    await using daemon = await startDaemon({ pki: serverPki, config: 'auth_tls = "sasl"', mechanisms: [mechanism] });
    const options = { authenticator: authenticator({ credentials: { username: "godwit", password } }) };
    assert.deepEqual(await domainNames(await open(daemon.tlsPort, `?pkipath=${client}`), options), ["test"]);
  });
}

/** A server on a free port whose connections end with it. */
async function listening(server: Server): Promise<{ port: number } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => sockets.add(socket.on("error", () => undefined)));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    if (server.listening) await server[Symbol.asyncDispose]();
  };
  return { port: (server.address() as AddressInfo).port, [Symbol.asyncDispose]: close };
}

test("a server that never answers, one that is not libvirt, one that is not there", async () => {
  const silent = createTcpServer((socket) => socket.resume());
  await using quiet = await listening(silent);
  await assert.rejects(open(quiet.port, `?pkipath=${client}`, { connectTimeoutMs: 200 }), tlsError("timeout"));
  const stop = new AbortController();
  const opening = open(quiet.port, `?pkipath=${client}`, { signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(opening, /enough/);

  const [cert, key] = await Promise.all(["servercert", "serverkey"].map((name) => readFile(join(serverPki, `${name}.pem`))));
  const other = createTlsServer({ cert: cert!, key: key! }, (socket) => socket.on("error", () => undefined).end("HTTP"));
  await using web = await listening(other);
  await assert.rejects(open(web.port, `?pkipath=${client}`), tlsError("handshake", /72 instead of 1/));

  const hangingUp = createTcpServer((socket) => socket.end());
  await using rude = await listening(hangingUp);
  await assert.rejects(open(rude.port, `?pkipath=${client}`), tlsError("handshake"));
  const port = rude.port;
  await rude[Symbol.asyncDispose]();
  await assert.rejects(open(port, `?pkipath=${client}`), tlsError("connect"));
});
