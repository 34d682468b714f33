import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { open, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { connectNbd } from "@godwit/nbd";
import { mib, type Ran, type RunOptions, VaultCli } from "./support/vault-cli.ts";

describe("godwit vault", () => {
  let cli: VaultCli;
  let folder: string;
  const at = (name: string): string => cli.at(name);
  const godwit = (args: readonly string[], options: RunOptions = {}): Promise<Ran> => cli.run(args, options);
  const json = <T>(...args: readonly string[]): Promise<T> => cli.json<T>(...args);

  let image: Buffer;
  let first: string;

  before(async () => {
    cli = await VaultCli.make();
    folder = cli.folder;
    image = await cli.makeImage("vda.raw");
    const point = await json<{ id: string }>("put", "--name", "web", `vda=${at("vda.raw")}`);
    first = point.id;
  });
  after(() => cli[Symbol.asyncDispose]());

  it("stores an image with holes, reads only its data, and gives it back sparse", async () => {
    const shown = await json<{ figures: { readBytes: number }; disks: { name: string; size: number }[] }>("show", "web");
    assert.deepEqual(
      shown.disks.map(({ name, size }) => ({ name, size })),
      [{ name: "vda", size: image.length }],
    );
    assert.ok(shown.figures.readBytes < 3 * mib, `${shown.figures.readBytes} bytes read`);
    assert.equal((await godwit(["restore", `${first.slice(0, 8)}:vda`, at("out.raw")])).code, 0);
    assert.deepEqual(await readFile(at("out.raw")), image);
    assert.ok((await stat(at("out.raw"))).blocks * 512 < 3 * mib);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.includes("part")),
      [],
    );
  });

  it("takes a list of changes, reads nothing else, and tells the difference", async () => {
    image.set(randomBytes(5000), 3 * mib + 10);
    image.fill(0, mib, mib + 65_536);
    await writeFile(at("vda.raw"), image);
    const changed = [
      { offset: 3 * mib + 10, length: 5000 },
      { start: mib, length: 65_536, zero: true },
      { start: 5 * mib, length: mib, dirty: false },
    ];
    await writeFile(at("changed.json"), JSON.stringify(changed));
    const args = ["put", "--name", "web", `vda=${at("vda.raw")}`, "--base", first, "--changed", `vda=${at("changed.json")}`];
    const second = await json<{ id: string; parent: string; figures: { readBytes: number } }>(...args);
    assert.equal(second.parent, first);
    assert.equal(second.figures.readBytes, 65_536);
    assert.deepEqual(await json("diff", first, `${second.id}:vda`), [
      { offset: mib, length: 65_536, kind: "zero" },
      { offset: 3 * mib, length: 65_536, kind: "data" },
    ]);
  });

  it("restores in place what differs, and refuses to overwrite otherwise", async () => {
    const refused = await godwit(["restore", "web", at("out.raw")]);
    assert.equal(refused.code, 4);
    assert.match(refused.err, /exists and is not empty: give --in-place/);
    const [result] = await json<{ writtenBytes: number; keptBytes: number }[]>("restore", "web", at("out.raw"), "--in-place");
    assert.equal(result?.writtenBytes, 65_536);
    assert.deepEqual(await readFile(at("out.raw")), image);
  });

  it("leaves holes in place where the point has nothing", async () => {
    await writeFile(at("full.raw"), Buffer.alloc(64 * mib, 1));
    const source = await open(at("empty.raw"), "w");
    await source.truncate(64 * mib);
    await source.close();
    await json("put", "--name", "empty", at("empty.raw"));
    await json("restore", "empty", at("full.raw"), "--in-place");
    assert.ok((await readFile(at("full.raw"))).equals(Buffer.alloc(64 * mib)));
    assert.ok((await stat(at("full.raw"))).blocks * 512 < mib);
  });

  it("goes on with a restore that was interrupted", async () => {
    const { id } = await json<{ id: string }>("show", "web");
    const part = at(`again.raw.${id.slice(0, 12)}.part`);
    const half = Buffer.from(image);
    half.fill(0, 6 * mib);
    await writeFile(part, half);
    const [result] = await json<{ writtenBytes: number }[]>("restore", "web", at("again.raw"));
    assert.ok(result!.writtenBytes < mib);
    assert.deepEqual(await readFile(at("again.raw")), image);
  });

  it("restores all disks into a directory", async () => {
    await json("put", "--name", "pair", at("vda.raw"), at("out.raw"));
    assert.equal((await godwit(["restore", "pair", at("nowhere")])).code, 2);
    const results = await json<{ target: string }[]>("restore", "pair", folder);
    assert.deepEqual(
      results.map(({ target }) => target),
      [at("disk0.raw"), at("disk1.raw")],
    );
    assert.deepEqual(await readFile(at("disk1.raw")), image);
  });

  it("serves a point over NBD, read-only or with an overlay, until it is told to stop", async () => {
    const served = async (flags: readonly string[], use: (uri: string) => Promise<void>): Promise<void> => {
      const stop = new AbortController();
      const { promise: ready, resolve } = Promise.withResolvers<string>();
      const done = godwit(["map", "web:vda", ...flags], { signal: stop.signal, onOut: resolve });
      const ended = done.then(({ err }) => assert.fail(err));
      await use((await Promise.race([ready, ended])).trim());
      stop.abort();
      assert.equal((await done).code, 0);
    };
    await served(["--socket", at("sock")], async (uri) => {
      await using client = await connectNbd(uri);
      assert.equal(client.info.readOnly, true);
      const part = new Uint8Array(10_000);
      await client.read(3 * mib, part);
      assert.deepEqual(Buffer.from(part), image.subarray(3 * mib, 3 * mib + part.length));
    });
    await served(["--listen", "127.0.0.1:0", "--write-overlay", at("overlay")], async (uri) => {
      await using client = await connectNbd(uri);
      await client.write(100, Buffer.from("changed"));
      await client.flush();
    });
    await served(["--socket", at("sock"), "--write-overlay", at("overlay")], async (uri) => {
      await using client = await connectNbd(uri);
      const part = Buffer.alloc(7);
      await client.read(100, part);
      assert.equal(part.toString(), "changed");
    });
    await json("restore", "web", at("out.raw"), "--in-place");
    assert.deepEqual(await readFile(at("out.raw")), image);
  });

  it("takes an image over NBD, and restores to one", async () => {
    const stop = new AbortController();
    const { promise: ready, resolve } = Promise.withResolvers<string>();
    const serving = godwit(["map", first, "--socket", at("sock2"), "--write-overlay", at("overlay2")], {
      signal: stop.signal,
      onOut: resolve,
    });
    const uri = (await ready).trim();
    const point = await json<{ figures: { newChunks: number } }>("put", "--name", "web", `vda=${uri}`);
    assert.equal(point.figures.newChunks, 0);
    await json("restore", "pair:disk1", uri, "--in-place");
    await using client = await connectNbd(uri);
    const all = Buffer.alloc(image.length);
    await client.read(0, all);
    assert.deepEqual(all, image);
    await client.close();
    stop.abort();
    await serving;
  });

  it("opens with other secrets, revokes them, and prints a code for paper", async () => {
    await writeFile(at("key"), randomBytes(32));
    const added = await json<{ id: string }>("key", "add", "--new-key-file", at("key"), "--label", "second");
    assert.equal((await godwit(["list", "--key-file", at("key")])).code, 0);
    await writeFile(at("passphrase"), "correct horse battery staple\n");
    await json("key", "add", "--new-passphrase-file", at("passphrase"), "--label", "words");
    assert.equal((await godwit(["list", "--passphrase-file", at("passphrase")])).code, 0);
    const { code } = await json<{ code: string }>("key", "export");
    await writeFile(at("code"), `${code}\n`);
    const { epoch } = await json<{ epoch: number }>("key", "rekey");
    assert.equal(epoch, 2);
    await json("key", "revoke", added.id);
    assert.equal((await godwit(["list", "--key-file", at("key")])).code, 1);
    assert.equal((await godwit(["list", "--recovery-code-file", at("code")])).code, 0);
    const slots = await json<{ label: string; epoch: number }[]>("key", "list");
    const names = slots.map(({ label, epoch: opens }) => `${label} ${opens}`);
    assert.deepEqual(names.toSorted(), ["first 2", "paper 2", "words 2"]);
  });

  it("ends with the code that a script can use, and says the way out", async () => {
    const cases: readonly (readonly [string[], number, RegExp])[] = [
      [["show", "nobody"], 3, /no recovery point nobody/],
      [["restore", "web:vdx", at("x.raw")], 3, /has no disk vdx: vda/],
      [["list", "--vault", at("nothing")], 3, /there is no directory/],
      [["list", "--vault", folder], 3, /there is no vault at/],
      [["init"], 1, /is a vault already/],
      [["init", at("grid"), "--grid", "5000"], 2, /a power of two/],
      [["put", at("vda.raw")], 2, /--name/],
      [["put", "--name", "web", at("vda.raw"), "--changed", at("changed.json")], 2, /needs --base/],
      [["put", "--name", "web", at("missing.raw")], 1, /cannot open .*missing\.raw/],
      [["map", "web"], 2, /--socket PATH, or --listen/],
      [["list", "--key-file", at("vda.raw")], 1, /opens no slot/],
    ];
    for (const [args, code, text] of cases) {
      const ran = await godwit(args);
      assert.match(ran.err, text, args.join(" "));
      assert.equal(ran.code, code, args.join(" "));
    }
    const { env } = cli;
    cli.env = { ...env, GODWIT_KEY_FILE: undefined };
    assert.match((await godwit(["list"])).err, /say how to open the vault/);
    cli.env = env;
  });

  it("is cancelled with 130, leaving nothing listed", async () => {
    const before = await json<{ points: unknown[] }>("list");
    const signal = AbortSignal.abort();
    assert.equal((await godwit(["put", "--name", "web", at("vda.raw")], { signal })).code, 130);
    const later = new AbortController();
    const putting = godwit(["put", "--name", "late", at("vda.raw")], { signal: later.signal });
    await new Promise(setImmediate);
    later.abort();
    const { code } = await putting;
    const now = await json<{ points: unknown[] }>("list");
    assert.equal(now.points.length, before.points.length + (code === 0 ? 1 : 0));
  });

  it("finds a flipped bit, says which disks it hurts, and ends with 4", async () => {
    assert.equal((await godwit(["verify", "--budget", "1M"])).code, 0);
    const packs = (await readdir(at("vault/data"), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
    const sizes = await Promise.all(packs.map(async (pack) => ({ pack, size: (await stat(join(pack.parentPath, pack.name))).size })));
    const { pack } = sizes.toSorted((a, b) => b.size - a.size)[0]!;
    const path = join(pack.parentPath, pack.name);
    const bytes = await readFile(path);
    bytes[200_000]! ^= 4;
    await writeFile(path, bytes);
    const ran = await godwit(["verify", "-o", "json"]);
    assert.equal(ran.code, 4);
    const result = JSON.parse(ran.out) as { damage: { object: string }[]; hurt: { disk: string; extents: { offset: number }[] }[] };
    assert.ok(result.damage.some(({ object }) => object.endsWith(pack.name)));
    assert.ok(result.hurt.some(({ disk, extents }) => disk === "vda" && extents.length > 0));
    await assert.doesNotReject(json("put", "--name", "web", `vda=${at("vda.raw")}`));
    assert.equal((await godwit(["verify", "web"])).code, 0);
    assert.equal((await godwit(["repair"])).code, 0);
  });
});
