import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type BlobStore, CachingStore, LimitedStore, LocalStore, RetryStore } from "@godwit/vault";
import { FaultyStore } from "./support/faulty-store.ts";
import { MemoryStore } from "./support/memory-store.ts";
import { SlowStore } from "./support/slow-store.ts";
import { storeContract, type StorePair } from "./support/store-contract.ts";

const { signal } = new AbortController();

async function directory(options: { readonly hardLinks: boolean }): Promise<StorePair> {
  const folder = await mkdtemp(join(tmpdir(), "godwit-store-"));
  const open = (): Promise<LocalStore> => LocalStore.open(folder, { signal, ...options });
  const [store, other] = [await open(), await open()];
  return {
    store,
    other,
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]();
      await other[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

function memory(): Promise<StorePair> {
  const store = new MemoryStore();
  return Promise.resolve({ store, other: store, [Symbol.asyncDispose]: () => Promise.resolve() });
}

/** Two handles, each a decorator of its own on one store in memory. */
function decorated(decorate: (inner: BlobStore) => BlobStore): () => Promise<StorePair> {
  const inner = new MemoryStore();
  return () => Promise.resolve({ store: decorate(inner), other: decorate(inner), [Symbol.asyncDispose]: () => Promise.resolve() });
}

const flaky = (inner: BlobStore): BlobStore => new FaultyStore(inner, ({ number }) => (number % 3 === 1 ? { kind: "error" } : undefined));

const places: Readonly<Record<string, () => Promise<StorePair>>> = {
  memory,
  "a store that fails every third time, tried again": decorated((inner) => new RetryStore(flaky(inner), { firstPauseMs: 1 })),
  "a store with limits": decorated(
    (inner) => new LimitedStore(inner, { calls: 3, upBytesPerSecond: 2 ** 30, downBytesPerSecond: 2 ** 30 }),
  ),
  "a store with a cache": decorated((inner) => new CachingStore(inner, { maxBytes: 1 << 20, blockBytes: 4096 })),
  "a store that is far away": decorated((inner) => new SlowStore(inner, 1)),
  "a directory": () => directory({ hardLinks: true }),
  "a directory without hard links": () => directory({ hardLinks: false }),
};

for (const [what, open] of Object.entries(places)) {
  describe(`${what} keeps the promises of a store`, () => {
    let pair: StorePair;
    before(async () => {
      pair = await open();
    });
    after(() => pair[Symbol.asyncDispose]());
    for (const { title, check } of storeContract) it(title, () => check(pair));
  });
}
