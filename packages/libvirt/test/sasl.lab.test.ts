import assert from "node:assert/strict";
import { test } from "node:test";
import { connectOver, type Connection } from "../src/connection.ts";
import { LibvirtError } from "../src/errors.ts";
import { authenticator, type AuthenticatorOptions, SaslError, type SaslErrorKind } from "../src/sasl/index.ts";
import { openTransport } from "../src/transport/open.ts";
import { parseUri } from "../src/uri/index.ts";
import { password, startDaemon, type TestDaemon } from "./transport-fixture.ts";

async function connect(daemon: TestDaemon, options: AuthenticatorOptions): Promise<Connection> {
  const uri = parseUri(`test+unix:///default?socket=${daemon.socket}`);
  return connectOver(await openTransport(uri), { driverUri: uri.driverUri, authenticator: authenticator(options) });
}

async function domainNames({ remote }: Connection): Promise<readonly string[]> {
  return (await remote.connectListAllDomains({ needResults: 1, flags: 0 })).domains.map(({ name }) => name);
}

const saslFailure = (kind: SaslErrorKind, says: RegExp) => (error: unknown) =>
  error instanceof LibvirtError &&
  error.kind === "auth" &&
  error.cause instanceof SaslError &&
  error.cause.kind === kind &&
  says.test(error.cause.message);

const credentials = { username: "godwit", password };

for (const mechanism of ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"] as const) {
  test(`${mechanism}: the right password lists domains, a wrong one is refused by name`, async () => {
    await using daemon = await startDaemon({ config: 'auth_unix_rw = "sasl"', mechanisms: [mechanism] });
    await using connection = await connect(daemon, { credentials });
    assert.deepEqual(await domainNames(connection), ["test"]);
    await assert.rejects(
      connect(daemon, { credentials: { ...credentials, password: "wrong" } }),
      saslFailure("rejected", /refused user "godwit" with SASL/),
    );
    await assert.rejects(connect(daemon, { credentials: { ...credentials, username: "nobody" } }), saslFailure("rejected", /nobody/));
    await assert.rejects(connect(daemon, {}), saslFailure("credentials", /give credentials/));
  });
}

test("a daemon with only DIGEST-MD5 is told by name; the strongest of several is taken; auth= chooses", async () => {
  await using digest = await startDaemon({ config: 'auth_unix_rw = "sasl"', mechanisms: ["DIGEST-MD5"] });
  await assert.rejects(connect(digest, { credentials }), saslFailure("mechanism", /DIGEST-MD5.*SCRAM-SHA-256/));
  await using both = await startDaemon({ config: 'auth_unix_rw = "sasl"', mechanisms: ["PLAIN", "SCRAM-SHA-256"] });
  await using chosen = await connect(both, { credentials, auth: "sasl.plain" });
  assert.deepEqual(await domainNames(chosen), ["test"]);
  await assert.rejects(
    connect(both, { credentials, auth: "polkit" }),
    (error: unknown) => error instanceof LibvirtError && error.kind === "auth" && /wants sasl/.test(error.message),
  );
});

test("SASL over plain TCP is refused on our side, with the way out", async () => {
  await using daemon = await startDaemon({ config: 'auth_tcp = "sasl"', tcp: true, mechanisms: ["SCRAM-SHA-256"] });
  const transport = await openTransport(parseUri(`test+tcp://127.0.0.1:${daemon.tcpPort}/default`));
  assert.equal(transport.secure, false);
  const open = connectOver(transport, { driverUri: "test:///default", authenticator: authenticator({ credentials }) });
  await assert.rejects(open, saslFailure("insecure", /\+tls, \+ssh/));
});
