import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { azureAccess, AzureStore, formatAzureLocation, parseAzureLocation } from "../src/store/azure/index.ts";
import { type Answer, type Asked, type HttpStub, startStub } from "./support/http-stub.ts";
import { isKind } from "./support/store-contract.ts";

const { signal } = new AbortController();

describe("a location of Azure", () => {
  it("names account, container, prefix and endpoint", () => {
    const plain = parseAzureLocation("azure://myaccount/vaults/site1/");
    assert.deepEqual(plain, { account: "myaccount", container: "vaults", prefix: "site1/", endpoint: undefined });
    assert.equal(formatAzureLocation(plain), "azure://myaccount/vaults/site1");
    const own = "azure://myaccount/vaults?endpoint=http://127.0.0.1:10000/myaccount";
    assert.equal(formatAzureLocation(parseAzureLocation(own)), own);
  });

  it("is refused when it is malformed or holds credentials", () => {
    for (const location of [
      "azure://",
      "azure://a",
      "azure://My-Account/vaults",
      "azure://myaccount",
      "azure://myaccount/V",
      "azure://myaccount/vaults?sig=abc",
      "azure://x:y@myaccount/vaults",
      "azure://myaccount/vaults?endpoint=https://host/?sig=abc",
    ]) {
      assert.throws(() => parseAzureLocation(location), isKind("failed"), location);
    }
  });

  it("finds its credentials in the environment, and says which it misses", () => {
    const where = parseAzureLocation("azure://myaccount/vaults/x");
    assert.throws(() => azureAccess(where, {}), isKind("denied"));
    assert.equal(azureAccess(where, { AZURE_STORAGE_KEY: "a2V5" }).url, "https://myaccount.blob.core.windows.net/vaults");
    const signed = azureAccess(where, { AZURE_STORAGE_SAS_TOKEN: "?sv=1&sig=abc" });
    assert.equal(signed.url, "https://myaccount.blob.core.windows.net/vaults?sv=1&sig=abc");
    assert.equal(signed.credential, undefined);
  });
});

const environment = { AZURE_STORAGE_SAS_TOKEN: "sv=1&sig=very-secret" };
const error = (status: number, code: string): Answer => ({ status, headers: { "x-ms-error-code": code } });
const dates = { "last-modified": "Fri, 01 Jan 2027 00:00:00 GMT", date: "Fri, 01 Jan 2027 00:00:10 GMT" };

async function against(immutable: boolean, answer: (asked: Asked) => Answer): Promise<{ stub: HttpStub; store: AzureStore }> {
  const opening = { status: 200, headers: { "x-ms-immutable-storage-with-versioning-enabled": String(immutable), ...dates } };
  const isOpening = ({ url }: Asked): boolean => url.includes("restype=container") && !url.includes("comp=");
  const stub = await startStub((asked) => (isOpening(asked) ? opening : answer(asked)));
  const where = parseAzureLocation(`azure://myaccount/vaults/p?endpoint=${stub.endpoint}/acc`);
  return { stub, store: await AzureStore.open(where, { signal, environment }) };
}

// Azurite has no immutability: these hold the requests to the service's documentation, no server has seen them.
describe("a store on Azure with version-level immutability", () => {
  const until = Date.parse("2027-03-01T10:00:00.200Z");

  it("creates only, and locks from the first moment on, never for less than asked", async () => {
    const { stub, store } = await against(true, () => ({ status: 201 }));
    await using _ = stub;
    assert.equal(store.enforcesRetention, true);
    assert.equal(await store.put("a", [Buffer.from("x")], { signal, retainUntil: until }), "created");
    const { method, headers } = stub.asked.at(-1)!;
    assert.equal(method, "PUT");
    assert.equal(headers["if-none-match"], "*");
    assert.equal(headers["x-ms-immutability-policy-mode"], "Locked");
    assert.equal(headers["x-ms-immutability-policy-until-date"], "Mon, 01 Mar 2027 10:00:01 GMT");
  });

  const locked = (date: string, hold = "false"): Answer => ({
    status: 200,
    headers: { ...dates, "x-ms-immutability-policy-mode": "locked", "x-ms-immutability-policy-until-date": date, "x-ms-legal-hold": hold },
  });

  it("extends a lock, and never shortens one", async () => {
    const { stub, store } = await against(true, ({ method }) =>
      method === "HEAD" ? locked("Mon, 01 Feb 2027 00:00:00 GMT") : { status: 200 },
    );
    await using _ = stub;
    await store.extendRetention("a", Date.parse("2027-01-20T00:00:00Z"), { signal });
    assert.equal(stub.asked.at(-1)!.method, "HEAD");
    await store.extendRetention("a", until, { signal });
    const { method, url, headers } = stub.asked.at(-1)!;
    assert.equal(method, "PUT");
    assert.match(url, /comp=immutabilityPolicies/);
    assert.equal(headers["x-ms-immutability-policy-until-date"], "Mon, 01 Mar 2027 10:00:01 GMT");
    assert.equal((await store.stat("a", { signal }))?.retainUntil, Date.parse("2027-02-01T00:00:00Z"));
  });

  it("does not delete what is locked, as that would hide it", async () => {
    for (const head of [locked("Mon, 01 Feb 2027 00:00:00 GMT"), locked("Fri, 01 Jan 2027 00:00:00 GMT", "true")]) {
      const { stub, store } = await against(true, ({ method }) => (method === "HEAD" ? head : { status: 202 }));
      await using _ = stub;
      await assert.rejects(store.delete("a", { signal }), isKind("retained"));
      assert.ok(stub.asked.every(({ method }) => method !== "DELETE"));
    }
  });

  it("deletes with all versions what was locked once", async () => {
    const blob = (name: string, version: string): string =>
      `<Blob><Name>${name}</Name><VersionId>${version}</VersionId><Properties><Last-Modified>${dates["last-modified"]}</Last-Modified><Etag>1</Etag><Content-Length>1</Content-Length></Properties></Blob>`;
    const versions = `<?xml version="1.0"?><EnumerationResults ServiceEndpoint="http://x/" ContainerName="vaults"><Blobs>${blob("p/a", "v1")}${blob("p/a", "v2")}${blob("p/ab", "v3")}</Blobs><NextMarker/></EnumerationResults>`;
    const { stub, store } = await against(true, ({ method }) => {
      if (method === "HEAD") return locked("Thu, 31 Dec 2026 00:00:00 GMT");
      return method === "GET" ? { status: 200, headers: { "content-type": "application/xml" }, body: versions } : { status: 202 };
    });
    await using _ = stub;
    await store.delete("a", { signal });
    const deleted = stub.asked.filter(({ method }) => method === "DELETE").map(({ url }) => /versionid=([^&]*)/.exec(url)?.[1]);
    assert.deepEqual(deleted, [undefined, "v1", "v2"]);
  });
});

describe("a store on Azure", () => {
  it("knows what may pass from what will not", async () => {
    for (const [answer, kind] of [
      [error(503, "ServerBusy"), "unavailable"],
      [error(500, "OperationTimedOut"), "unavailable"],
      [error(429, "TooManyRequests"), "unavailable"],
      [error(409, "ContainerBeingDeleted"), "unavailable"],
      [error(409, "BlobImmutableDueToPolicy"), "retained"],
      [error(409, "SnapshotsPresent"), "failed"],
      [error(403, "AuthenticationFailed"), "denied"],
      [error(404, "ContainerNotFound"), "not-found"],
      [error(400, "InvalidHeaderValue"), "failed"],
    ] as const) {
      const { stub, store } = await against(false, () => answer);
      await using _ = stub;
      await assert.rejects(store.delete("a", { signal }), isKind(kind), JSON.stringify(answer));
    }
  });

  it("takes a line that breaks, and a server that is not there, for what may pass", async () => {
    const { stub, store } = await against(false, () => ({ status: 200, headers: { ...dates, etag: "1" }, body: "half", cutAfter: 8 }));
    await using closing = stub;
    await assert.rejects(store.get("a", { signal, maxBytes: 10 }), isKind("unavailable"));
    await closing[Symbol.asyncDispose]();
    await assert.rejects(store.stat("a", { signal }), isKind("unavailable"));
  });

  it("repeats no signature in what it says", async () => {
    const { stub, store } = await against(false, () => error(403, "AuthorizationFailure"));
    await using _ = stub;
    await assert.rejects(store.get("a", { signal, maxBytes: 10 }), (failure) => {
      const { message, cause } = failure as Error;
      return !`${message} ${String(cause)} ${JSON.stringify(cause)} ${store.location}`.includes("very-secret");
    });
  });
});
