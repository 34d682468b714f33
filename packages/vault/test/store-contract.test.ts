import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { LocalStore } from "@godwit/vault";
import { MemoryStore } from "./support/memory-store.ts";
import { storeContract, type StorePair } from "./support/store-contract.ts";

const { signal } = new AbortController();

async function directory(options: { readonly hardLinks: boolean }): Promise<StorePair> {
  const folder = await mkdtemp(join(tmpdir(), "godwit-store-"));
  const open = (): Promise<LocalStore> => LocalStore.open(folder, { signal, ...options });
  return {
    store: await open(),
    other: await open(),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}

function memory(): Promise<StorePair> {
  const store = new MemoryStore();
  return Promise.resolve({ store, other: store, [Symbol.asyncDispose]: () => Promise.resolve() });
}

const places: Readonly<Record<string, () => Promise<StorePair>>> = {
  memory,
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
