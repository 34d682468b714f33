import assert from "node:assert/strict";
import { access, mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type BlobStore, LocalStore, openStore, StoreError } from "@godwit/vault";

const { signal } = new AbortController();
const bytes = (text: string): Uint8Array => Buffer.from(text);
const isKind = (kind: string) => (error: unknown) => error instanceof StoreError && error.kind === kind;

for (const hardLinks of [true, false]) {
  describe(`a directory as a store, ${hardLinks ? "with" : "without"} hard links`, () => {
    let folder: string;
    let store: BlobStore;
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), "godwit-store-"));
      store = await LocalStore.open(folder, { signal, hardLinks });
    });
    after(() => rm(folder, { recursive: true }));

    it("creates once and never overwrites", async () => {
      assert.equal(await store.put("data/b1/p1", [bytes("one"), bytes(" two")], { signal }), "created");
      assert.equal(await store.put("data/b1/p1", [bytes("other")], { signal }), "exists");
      assert.equal(Buffer.from(await store.get("data/b1/p1", { signal, maxBytes: 7 })).toString(), "one two");
      assert.deepEqual(await readdir(join(folder, ".tmp")), []);
    });

    it("lets one of many writers of a name win", async () => {
      const wins = await Promise.all(Array.from({ length: 8 }, (_, i) => store.put("epoch/1", [bytes(`${i}`)], { signal })));
      const created = wins.flatMap((win, i) => (win === "created" ? [i] : []));
      assert.equal(created.length, 1);
      assert.equal(Buffer.from(await store.get("epoch/1", { signal, maxBytes: 1 })).toString(), `${created[0]}`);
    });

    it("reads parts, and says where an object ends", async () => {
      await store.put("part", [bytes("abcdef")], { signal });
      const into = Buffer.alloc(4);
      assert.equal(await store.read("part", 4, into, { signal }), 2);
      assert.equal(into.toString("latin1", 0, 2), "ef");
      assert.equal(await store.read("part", 9, into, { signal }), 0);
      await assert.rejects(store.get("part", { signal, maxBytes: 5 }), isKind("too-large"));
      await assert.rejects(store.read("nothing", 0, into, { signal }), isKind("not-found"));
      assert.equal(await store.stat("nothing", { signal }), undefined);
      await assert.rejects(store.get("../part", { signal, maxBytes: 9 }), isKind("failed"));
    });

    it("lists in the order of names, from anywhere on, and nothing that is no object", async () => {
      for (const name of ["l/a/1", "l/a/2", "l/a0/1", "l/b", "l/c/x/y"]) await store.put(name, [bytes(name)], { signal });
      await writeFile(join(folder, "l", "Stranger.txt"), "");
      const names = async (prefix: string, from?: string): Promise<string[]> =>
        (await Array.fromAsync(store.list(prefix, { signal, ...(from === undefined ? {} : { after: from }) }))).map(({ name }) => name);
      assert.deepEqual(await names("l/"), ["l/a/1", "l/a/2", "l/a0/1", "l/b", "l/c/x/y"]);
      assert.deepEqual(await names("l/", "l/a/2"), ["l/a0/1", "l/b", "l/c/x/y"]);
      assert.deepEqual(await names("l/a/", "l/a/1"), ["l/a/2"]);
      assert.deepEqual(await names("nothing/"), []);
    });

    it("leaves no empty directory behind, and makes it again", async () => {
      await store.put("data/b9/p", [bytes("x")], { signal });
      await store.delete("data/b9/p", { signal });
      await store.delete("data/b9/p", { signal });
      await assert.rejects(access(join(folder, "data/b9")));
      assert.equal(await store.put("data/b9/p", [bytes("y")], { signal }), "created");
    });
  });
}

describe("a store's directory", () => {
  it("is cleaned of what dead writers left, and of nothing younger", async () => {
    const folder = await mkdtemp(join(tmpdir(), "godwit-store-"));
    await using _ = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
    await mkdir(join(folder, ".tmp"));
    for (const name of ["old", "new"]) await writeFile(join(folder, ".tmp", name), "rest");
    await utimes(join(folder, ".tmp", "old"), 1000, 1000);
    const store = await openStore(folder, { signal });
    await store.put("a", [bytes("a")], { signal });
    assert.deepEqual(await readdir(join(folder, ".tmp")), ["new"]);
  });

  it("must be there, unless it is to be made", async () => {
    const folder = await mkdtemp(join(tmpdir(), "godwit-store-"));
    await using _ = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
    const place = join(folder, "not", "yet");
    await assert.rejects(openStore(place, { signal }), isKind("not-found"));
    await assert.rejects(openStore("ftp://host/place", { signal }), isKind("unsupported"));
    await using store = await openStore(`file://${place}`, { signal, create: true });
    assert.equal(store.location, place);
  });
});
