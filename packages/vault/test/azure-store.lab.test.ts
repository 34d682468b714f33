import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { AzureStore, parseAzureLocation } from "../src/store/azure/index.ts";
import { type AzureServer, startAzurite } from "./support/azurite.ts";
import { isKind, storeContract, type StorePair } from "./support/store-contract.ts";

const { signal } = new AbortController();

describe("Azure Blob as Azurite speaks it", () => {
  let server: AzureServer;
  let pair: StorePair;
  before(async () => {
    server = await startAzurite();
    await server.makeContainer("vaults");
    const { environment } = server;
    pair = {
      store: await AzureStore.open(at("vaults/some/where"), { signal, environment, pageSize: 7 }),
      other: await AzureStore.open(at("vaults/some/where"), { signal, environment }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  });
  after(() => server?.[Symbol.asyncDispose]());

  const at = (path: string): ReturnType<typeof parseAzureLocation> =>
    parseAzureLocation(`azure://${server.account}/${path}?endpoint=${server.endpoint}`);

  for (const { title, check } of storeContract) it(title, () => check(pair));

  it("says at once that there is no container or no key, and with the first call that the key is wrong", async () => {
    const { environment } = server;
    await assert.rejects(AzureStore.open(at("nonesuch"), { signal, environment }), isKind("not-found"));
    const wrong = { AZURE_STORAGE_KEY: Buffer.from("wrong").toString("base64") };
    const use = async (): Promise<void> => {
      const store = await AzureStore.open(at("vaults"), { signal, environment: wrong });
      await store.put("a", [], { signal });
    };
    await assert.rejects(use(), isKind("denied"));
    await assert.rejects(AzureStore.open(at("vaults"), { signal, environment: {} }), isKind("denied"));
  });
});
