import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { globSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { openStore } from "@godwit/vault";
import { startStub } from "./support/http-stub.ts";
import { isKind, namesIn } from "./support/store-contract.ts";

const { signal } = new AbortController();

test("a store of Azure is opened by its location, with credentials from the environment that is given", async () => {
  await using stub = await startStub(({ url }) =>
    url.includes("comp=list")
      ? {
          status: 200,
          headers: { "content-type": "application/xml" },
          body: "<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>",
        }
      : { status: 200 },
  );
  const location = `azure://myaccount/vaults/x?endpoint=${stub.endpoint}/acc`;
  await assert.rejects(openStore(location, { signal, environment: {} }), isKind("denied"));
  await using store = await openStore(location, { signal, environment: { AZURE_STORAGE_SAS_TOKEN: "sv=1&sig=very-secret" } });
  assert.equal(store.location, location);
  assert.deepEqual(await namesIn(store, ""), []);
});

test("a store is opened and used with patience, and as much as it may take", async () => {
  let asked = 0;
  await using stub = await startStub(({ url }) => {
    asked += 1;
    if (asked % 2 === 1) return { status: 503 };
    return url.includes("restype=container") ? { status: 200 } : { status: 404, headers: { "x-ms-error-code": "BlobNotFound" } };
  });
  const location = `azure://myaccount/vaults?endpoint=${stub.endpoint}/acc`;
  const environment = { AZURE_STORAGE_SAS_TOKEN: "sv=1&sig=very-secret" };
  const options = { signal, environment, retry: { firstPauseMs: 1 }, limits: { calls: 1 } };
  await using store = await openStore(location, options);
  assert.deepEqual(await Promise.all([store.stat("a", { signal }), store.stat("b", { signal })]), [undefined, undefined]);
  assert.equal(asked, 6);
});

test("a location of a kind that nobody knows is refused with those that are known", async () => {
  await assert.rejects(openStore("gs://bucket/x", { signal }), (error) => {
    assert.match((error as Error).message, /azure:\/\/.*s3:\/\/.*file:\/\//);
    return isKind("unsupported")(error);
  });
});

test("nothing but the stores that need them loads the SDKs, so that a local vault starts without", async () => {
  const source = resolve(import.meta.dirname, "../src");
  for (const file of globSync("**/*.ts", { cwd: source })) {
    const text = await readFile(join(source, file), "utf8");
    if (/^store\/(?:s3|azure)\//.test(file)) continue;
    assert.doesNotMatch(text, /from "(?:@aws-sdk|@azure|[^"]*\/(?:s3|azure)\/)/, file);
  }
});
