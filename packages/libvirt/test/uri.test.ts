import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fuzz } from "../fuzz/uri.fuzz.ts";
import { daemonSockets, type Environment, formatUri, parseUri, UriError, type UriErrorKind } from "../src/uri/index.ts";

const root: Environment = { variables: {}, home: "/root", userName: "root", uid: 0 };
const alice: Environment = { variables: { XDG_RUNTIME_DIR: "/run/user/1000" }, home: "/home/alice", userName: "alice", uid: 1000 };

test("the URIs that libvirt documents are understood as libvirt understands them", () => {
  const cases: [text: string, transport: string, driverUri: string, place: object][] = [
    ["qemu:///system", "unix", "qemu:///system", {}],
    ["qemu:///session", "unix", "qemu:///session", {}],
    ["test:///default", "unix", "test:///default", {}],
    ["test:///path/to/host/definitions.xml", "unix", "test:///path/to/host/definitions.xml", {}],
    ["qemu+unix:///system?socket=/opt/libvirt/run/libvirt/libvirt-sock", "unix", "qemu:///system", {}],
    ["xen+ssh://rjones@towada/system", "ssh", "xen:///system", { user: "rjones", host: "towada" }],
    [
      "qemu+ssh://user@host:2222/system?keyfile=/k&known_hosts=/h&sshauth=privkey,agent",
      "ssh",
      "qemu:///system",
      { user: "user", host: "host", port: 2222 },
    ],
    ["qemu+libssh2://user@host/system?known_hosts=/home/user/.ssh/known_hosts", "ssh", "qemu:///system", { user: "user", host: "host" }],
    ["qemu+libssh://host/session", "ssh", "qemu:///session", { host: "host" }],
    ["xen://towada/system", "tls", "xen:///system", { host: "towada" }],
    ["xen://towada/system?no_verify=1", "tls", "xen:///system", { host: "towada" }],
    ["qemu+tls:///system", "tls", "qemu:///system", {}],
    ["test+tcp://localhost:5000/default", "tcp", "test:///default", { host: "localhost", port: 5000 }],
    ["qemu+tcp://[::1]:16509/system", "tcp", "qemu:///system", { host: "::1", port: 16509 }],
    ["qemu+tls://[fe80::1%25eth0]/system", "tls", "qemu:///system", { host: "fe80::1%eth0" }],
    ["remote+ssh://host/", "ssh", "", { host: "host" }],
    ["qemu+ssh://host/system?name=test:///default", "ssh", "test:///default", { host: "host" }],
    ["qemu+ssh://host/system?proxy=native&no_automatic=1&Socket=/x", "ssh", "qemu:///system?no_automatic=1", { host: "host" }],
    ["QEMU+SSH://host", "ssh", "qemu:///", { host: "host" }],
    ["qemu+ssh://me%40corp@host/a%20b", "ssh", "qemu:///a%20b", { user: "me@corp", host: "host" }],
  ];
  for (const [text, transport, driverUri, place] of cases) {
    const { transport: gotTransport, driverUri: gotDriverUri, user, host, port } = parseUri(text);
    const got = {
      transport: gotTransport,
      driverUri: gotDriverUri,
      ...(user !== undefined && { user }),
      ...(host !== undefined && { host }),
      ...(port !== undefined && { port }),
    };
    assert.deepEqual(got, { transport, driverUri, ...place }, text);
  }
});

test("connection parameters have libvirt's names, defaults and values", () => {
  assert.deepEqual(parseUri("qemu:///system").connection, { mode: "auto", knownHostsVerify: "normal", noVerify: false });
  const query =
    "socket=/s&mode=direct&proxy=netcat&netcat=/opt/nc&command=/ssh&keyfile=/k%20ey&known_hosts=/kh&known_hosts_verify=ignore&sshauth=agent&no_verify=1&no_tty=1&pkipath=/p&tls_priority=NORMAL&auth=sasl.PLAIN";
  assert.deepEqual(parseUri(`qemu+ssh://h/system?${query}`).connection, {
    mode: "direct",
    socket: "/s",
    proxy: "netcat",
    netcat: "/opt/nc",
    command: "/ssh",
    keyfile: "/k ey",
    sshauth: ["agent"],
    knownHosts: "/kh",
    knownHostsVerify: "ignore",
    noVerify: true,
    pkipath: "/p",
    tlsPriority: "NORMAL",
    auth: "sasl.PLAIN",
  });
});

test("what is wrong is named: the part, the reason and the way out", () => {
  const cases: [text: string, kind: UriErrorKind, part: string, says: RegExp][] = [
    ["", "syntax", "scheme", /for example qemu:\/\/\/system/],
    ["qemu", "syntax", "scheme", /no :\/\//],
    ["qemu+quic://host/system", "syntax", "scheme", /transport "quic" is unknown; use unix, tcp/],
    ["qemu+constructor://host/system", "syntax", "scheme", /unknown/],
    ["qemu+ext:///system?command=/bin/x", "unsupported", "scheme", /use ssh, tls or unix/],
    ["qemu+unix://host/system", "syntax", "host", /\+ssh/],
    ["qemu://root:secret@host/system", "syntax", "user", /password/],
    ["qemu+ssh://@host/system", "syntax", "user", /empty/],
    ["qemu+ssh://-oProxyCommand=x@host/system", "syntax", "user", /-/],
    ["qemu+ssh://-oProxyCommand/system", "syntax", "host", /not a host name/],
    ["qemu+ssh://::1/system", "syntax", "host", /\[IPv6\]/],
    ["qemu+ssh://[::g]/system", "syntax", "host", /not an IPv6/],
    ["qemu+ssh://host:0/system", "syntax", "port", /65535/],
    ["qemu+ssh://host:65536/system", "syntax", "port", /65535/],
    ["qemu+ssh://host/sys%zztem", "syntax", "path", /%25/],
    ["qemu+ssh://host/sys%00tem", "syntax", "path", /control/],
    ["qemu+ssh://host/sys\ntem", "syntax", "text", /control/],
    ["qemu+ssh://host/\ud800", "syntax", "text", /Unicode/],
    ["qemu:///system#x", "syntax", "fragment", /%23/],
    ["qemu:///system?socket=relative", "syntax", "?socket", /absolute/],
    ["qemu:///system?socket=", "syntax", "?socket", /empty/],
    ["qemu:///system?socket=/a&SOCKET=/b", "syntax", "?SOCKET", /twice/],
    ["qemu:///system?mode=sometimes", "syntax", "?mode", /auto, direct, legacy/],
    ["qemu:///system?=x", "syntax", "query", /name=value/],
    ["qemu+tls://h/system?no_verify=yes", "syntax", "?no_verify", /0 or 1/],
    ["qemu+ssh://h/system?sshauth=agent,magic", "syntax", "?sshauth", /agent, privkey/],
    [`qemu:///${"x".repeat(9000)}`, "syntax", "length", /8192/],
  ];
  for (const [text, kind, part, says] of cases) {
    assert.throws(
      () => parseUri(text),
      (error: unknown) => error instanceof UriError && error.kind === kind && error.context["part"] === part && says.test(error.message),
      text,
    );
  }
  assert.throws(
    () => parseUri("qemu://root:secret@host/"),
    (error: Error) => !error.message.includes("secret"),
  );
});

test("sockets: the driver's own daemon, then libvirtd, as mode= says; sessions in the user's run directory", () => {
  const paths = (text: string, env: Environment, options?: { readOnly: boolean }): readonly string[] =>
    daemonSockets(parseUri(text), env, options).paths;
  assert.deepEqual(paths("qemu:///system", root), ["/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"]);
  assert.deepEqual(paths("qemu:///system", root, { readOnly: true }), ["/run/libvirt/virtqemud-sock-ro", "/run/libvirt/libvirt-sock-ro"]);
  assert.deepEqual(paths("qemu:///system?mode=direct", root), ["/run/libvirt/virtqemud-sock"]);
  assert.deepEqual(paths("qemu:///system?mode=legacy", alice), ["/run/libvirt/libvirt-sock"]);
  assert.deepEqual(paths("qemu:///session", alice), ["/run/user/1000/libvirt/virtqemud-sock", "/run/user/1000/libvirt/libvirt-sock"]);
  assert.deepEqual(paths("qemu:///session?mode=legacy", { ...alice, variables: {} }), ["/home/alice/.cache/libvirt/libvirt-sock"]);
  assert.deepEqual(paths("qemu:///session", root), ["/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"]);
  assert.deepEqual(paths("qemu:///system?socket=/tmp/s", root), ["/tmp/s"]);
  assert.deepEqual(paths("remote:///", root), ["/run/libvirt/libvirt-sock"]);
  assert.throws(() => paths("qemu:///session", alice, { readOnly: true }), UriError);
});

test("format and parse are inverse", () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
  const text = fc.string({ unit: "binary", maxLength: 12 }).filter((value) => !/\p{Cc}/u.test(value) && value.isWellFormed());
  const host = fc.oneof(word, fc.ipV6(), fc.ipV4());
  const parts = fc.record(
    {
      driver: word,
      plus: fc.constantFrom("ssh", "tls", "tcp", "libssh2"),
      user: text.filter((user) => user !== "" && !user.startsWith("-")),
      host,
      port: fc.integer({ min: 1, max: 65_535 }),
      path: text.map((path) => `/${path}`),
      parameters: fc.array(fc.record({ name: text.map((name) => `x-${name}`), value: text }, { noNullPrototype: true }), { maxLength: 3 }),
    },
    { requiredKeys: ["driver", "plus", "path", "parameters"], noNullPrototype: true },
  );
  fc.assert(
    fc.property(parts, (given) => {
      const uri = parseUri(formatUri(given));
      const { transport: _transport, connection: _connection, driverUri, ...read } = uri;
      assert.deepEqual(read, given);
      assert.equal(formatUri(uri), formatUri(given));
      if (given.driver !== "remote") assert.equal(parseUri(driverUri).driverUri, driverUri);
    }),
  );
});

test("a short fuzz run finds nothing", async () => {
  assert.ok((await fuzz({ seconds: 0.3, seed: 1 })).cases > 100);
});
