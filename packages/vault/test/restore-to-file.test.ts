import assert from "node:assert/strict";
import { mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type BlobStore, FileImage, FileTarget, LocalStore, type Point, Vault } from "@godwit/vault";
import { cheap, grid, MemoryDisk, noise, secret, signal, tuning } from "./support/disks.ts";
import { MemoryStore } from "./support/memory-store.ts";

const kib = 1024;
const content = new Uint8Array(1400 * kib + 512);
content.set(noise(300 * kib, 5), 8 * kib);
content.fill(65, 400 * kib, 500 * kib);
content.set(content.subarray(8 * kib, 40 * kib), 900 * kib);
content.set(noise(3000, 6), content.length - 3000);

const stores: Record<string, (folder: string) => Promise<BlobStore>> = {
  "a directory": (folder) => LocalStore.open(join(folder, "vault"), { signal, create: true }),
  "a store that is no files": () => Promise.resolve(new MemoryStore()),
};

interface Bench extends AsyncDisposable {
  readonly folder: string;
  readonly vault: Vault;
  readonly point: Point;
}

async function bench(makeStore: (folder: string) => Promise<BlobStore>, threads: number): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "godwit-restore-"));
  stack.defer(() => rm(folder, { recursive: true }));
  const store = stack.use(await makeStore(folder));
  const vault = await Vault.init(store, { signal, secret, label: "test", cost: cheap, grid, tuning: { ...tuning, threads } });
  const point = await vault.put({ name: "web1", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
  const owned = stack.move();
  return { folder, vault, point, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

for (const [name, makeStore] of Object.entries(stores)) {
  for (const threads of [0, 2]) {
    describe(`from ${name} to a file, ${threads} threads`, () => {
      test("a new file gets what was put, and a changed one only what differs", async () => {
        await using made = await bench(makeStore, threads);
        const path = join(made.folder, "disk.raw");
        {
          await using target = await FileTarget.open(path, content.length);
          const { writtenBytes } = await made.vault.restore(made.point, "vda", target, { signal, blank: target.blank });
          assert.ok(writtenBytes > 0 && writtenBytes < content.length);
        }
        assert.deepEqual(new Uint8Array(await readFile(path)), content);
        await scribble(path);
        {
          await using target = await FileTarget.open(path, content.length, { keep: true });
          await using present = await FileImage.open(path);
          const { writtenBytes } = await made.vault.restore(made.point, "vda", target, { signal, present });
          assert.equal(writtenBytes, 2 * grid + 512);
        }
        assert.deepEqual(new Uint8Array(await readFile(path)), content);
      });
    });
  }
}

/** Counts what is read of packs of chunks. */
class CountingStore extends MemoryStore {
  requests = 0;

  override async read(name: string, offset: number, into: Uint8Array, options: { readonly signal: AbortSignal }): Promise<number> {
    if (name.startsWith("data/") && into.length > 32) this.requests += 1;
    return await super.read(name, offset, into, options);
  }
}

test("a store that is no files is asked for neighbours in one request", async () => {
  const store = new CountingStore();
  await using made = await bench(() => Promise.resolve(store), 0);
  const vault = await Vault.open(store, secret, { signal, tuning });
  const target = new MemoryDisk(content.length);
  store.requests = 0;
  await vault.restore(made.point, "vda", target, { signal, blank: true });
  assert.deepEqual(target.content, content);
  const packs = [...store.objects.keys()].filter((name) => name.startsWith("data/")).length;
  // Of each pack its table, and its records in two requests at the most: a leaf of the tree may end in one.
  assert.ok(store.requests <= packs * 4, `${store.requests} requests for ${packs} packs`);
});

/** Changes two chunks of data and the last one, and writes into a hole. */
async function scribble(path: string): Promise<void> {
  await using file = await open(path, "r+");
  for (const at of [100 * kib, 450 * kib, 700 * kib, content.length - 10]) await file.write(Buffer.from("scribbled"), 0, 9, at);
}

describe("from a directory to a file, with damage", () => {
  for (const [what, hurt, kind] of [
    ["a pack that is damaged", damage, "corrupt"],
    ["a pack that is gone", (path: string) => rm(path), "missing"],
    ["a pack that is cut", async (path: string) => writeFile(path, (await readFile(path)).subarray(0, 3000)), "corrupt"],
  ] as const) {
    test(`${what} fails the restore by its kind, or loses what was there and nothing else`, async () => {
      await using made = await bench(stores["a directory"]!, 2);
      await hurt(await somePack(made.folder));
      const path = join(made.folder, "disk.raw");
      const vault = await Vault.open(await stores["a directory"]!(made.folder), secret, { signal, tuning: { ...tuning, threads: 2 } });
      {
        await using target = await FileTarget.open(path, content.length, { keep: true });
        await assert.rejects(vault.restore(made.point, "vda", target, { signal, blank: true }), { kind });
        const { damaged } = await vault.restore(made.point, "vda", target, { signal, blank: true, salvage: true });
        assert.ok(damaged.length > 0);
        const written = new Uint8Array(await readFile(path));
        const expected = Uint8Array.from(content);
        for (const { offset, length } of damaged) {
          expected.fill(0, offset, offset + length);
          assert.ok(
            written.subarray(offset, offset + length).every((byte) => byte === 0),
            "what is damaged is left alone",
          );
        }
        assert.deepEqual(written, expected);
      }
    });
  }
});

async function somePack(folder: string): Promise<string> {
  const data = join(folder, "vault", "data");
  const files = (await readdir(data, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  return join(files[0]!.parentPath, files[0]!.name);
}

async function damage(path: string): Promise<void> {
  await using file = await open(path, "r+");
  await file.write(Buffer.from("rot"), 0, 3, 1000);
}
