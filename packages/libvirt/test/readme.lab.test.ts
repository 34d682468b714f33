import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { connect } from "../src/index.ts";
import { startSshd, type TestSshd } from "./ssh-fixture.ts";
import { examplesOf, installed, type Stranger } from "./stranger.ts";
import { goodServer, makePki, type TestPki } from "./tls-fixture.ts";
import { startDaemon, type TestDaemon } from "./transport-fixture.ts";

let pki: TestPki;
let clientPki: string;
let daemon: TestDaemon;
let sshd: TestSshd;
let stranger: Stranger;

before(async () => {
  pki = await makePki();
  clientPki = await pki.client("client");
  daemon = await startDaemon({ pki: await pki.server("server", goodServer), tcp: true });
  sshd = await startSshd({ namespaceOf: daemon.pid });
  await sshd.trust();
  stranger = await installed();
  await writeFile(
    join(daemon.dir, "node.xml"),
    "<node><domain type='test'><name>web</name><memory>65536</memory><os><type>hvm</type></os></domain></node>",
  );
});
after(async () => {
  await stranger?.[Symbol.asyncDispose]();
  await sshd?.[Symbol.asyncDispose]();
  await daemon?.[Symbol.asyncDispose]();
  await pki?.[Symbol.asyncDispose]();
});

const system = (): string => `qemu+unix:///system?socket=${daemon.socket}`;
/** A host with a VM named web. */
const withWeb = (): string => `test+unix://${daemon.dir}/node.xml?socket=${daemon.socket}`;

/** The places that the README names, here. */
function here(source: string, local: string): string {
  const ssh = `root@127.0.0.1:${sshd.port}/system?keyfile=${sshd.env.home}/.ssh/id_ed25519&known_hosts=${sshd.knownHosts}`;
  return source
    .replaceAll("qemu:///system", local)
    .replaceAll("root@node-1/system", ssh)
    .replaceAll("qemu+tls://node-1/system", `qemu+tls://127.0.0.1:${daemon.tlsPort}/system?pkipath=${clientPki}`)
    .replaceAll("qemu+tcp://node-1/system", `qemu+tcp://127.0.0.1:${daemon.tcpPort}/system`);
}

async function makePool(): Promise<void> {
  const target = join(daemon.dir, "images");
  await mkdir(target);
  await using connection = await connect(system());
  const { remote } = connection;
  const xml = `<pool type='dir'><name>default</name><target><path>${target}</path></target></pool>`;
  const pool = await remote.storagePoolCreateXml({ xml, flags: 0 });
  const volume = "<volume><name>disk.raw</name><capacity unit='KiB'>64</capacity><target><format type='raw'/></target></volume>";
  await remote.storageVolCreateXml({ pool, xml: volume, flags: 0 });
}

/** What each of the README's examples prints, in its order. */
const printed: readonly {
  readonly heading: string;
  readonly says: RegExp;
  readonly local?: () => string;
  readonly prepare?: () => Promise<void>;
}[] = [
  { heading: "Connect", says: /^unix:.*\nssh:.*\ntls:.*\ntcp:.*\n$/, local: system },
  { heading: "List domains", says: /^web runs \d+ characters\n$/ },
  { heading: "List domains", says: /^web 1\n$/ },
  { heading: "Events", says: /^web was suspended\n$/ },
  { heading: "Streams", says: /^65536 bytes\n$/, local: system, prepare: makePool },
  { heading: "Typed parameters", says: /hard_limit.*\n.*ullong/s },
  { heading: "Errors", says: /^no such domain: Domain not found/ },
  { heading: "Cancel", says: /^not needed any more\n1 domains, on the same connection\n$/ },
];

test("the package holds what it needs and nothing else", () => {
  assert.ok(stranger.files.includes("README.md") && stranger.files.includes("LICENSE") && stranger.files.includes("dist/index.d.ts"));
  assert.deepEqual(
    stranger.files.filter((path) => !/^(README\.md|LICENSE|package\.json|dist\/.+\.(js|d\.ts))$/.test(path)),
    [],
  );
});

test("who speaks neither SSH nor TLS does not load them: they take longer than all the rest", async () => {
  const source = `import { createRequire } from "node:module";
await import("@godwit/libvirt");
const loaded = [...process.moduleLoadList, ...Object.keys(createRequire(import.meta.url).cache)];
console.log(loaded.filter((name) => name === "NativeModule tls" || name.includes("/ssh2/")).join());`;
  assert.equal(await stranger.run("lazy", source), "\n");
});

test("every example of the README runs for a stranger who installed the package, on plain Node", async (t) => {
  const examples = await examplesOf(resolve(import.meta.dirname, "../README.md"));
  assert.deepEqual(
    examples.map(({ heading }) => heading),
    printed.map(({ heading }) => heading),
  );
  for (const [index, { heading, source }] of examples.entries()) {
    const { says, local = withWeb, prepare } = printed[index]!;
    await t.test(`${heading} (${index + 1})`, async () => {
      await prepare?.();
      assert.match(await stranger.run(`example-${index + 1}`, here(source, local())), says);
    });
  }
});
