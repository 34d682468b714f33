import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatS3Location, parseS3Location, S3Store } from "../src/store/s3/index.ts";
import { type Answer, type Asked, type HttpStub, startStub } from "./support/http-stub.ts";
import { isKind, namesIn } from "./support/store-contract.ts";

const { signal } = new AbortController();
const credentials = { accessKeyId: "id", secretAccessKey: "very-secret" };

describe("a location of S3", () => {
  it("names bucket, prefix, endpoint and region", () => {
    const plain = parseS3Location("s3://backups/godwit/site1/");
    assert.deepEqual(plain, { bucket: "backups", prefix: "godwit/site1/", endpoint: undefined, region: undefined, pathStyle: false });
    assert.equal(formatS3Location(plain), "s3://backups/godwit/site1");
    const own = "s3://backups?endpoint=https://s3.example.net:9000&region=eu-central-1";
    assert.equal(parseS3Location(own).pathStyle, true);
    assert.equal(formatS3Location(parseS3Location(own)), own);
    assert.equal(parseS3Location(`${own}&style=host`).pathStyle, false);
  });

  it("is refused with credentials in it, and these are not repeated", () => {
    for (const location of [
      "s3://key:hunter2@backups/x",
      "s3://backups/x?endpoint=https://key:hunter2@host",
      "s3://backups/x?secret=hunter2",
      "s3://backups/x?endpoint=https://host/?hunter2",
    ]) {
      assert.throws(
        () => parseS3Location(location),
        (error) => isKind("failed")(error) && !(error as Error).message.includes("hunter2"),
        location,
      );
    }
  });

  it("is refused when it is malformed", () => {
    for (const location of [
      "s3://",
      "s3:///x",
      "s3://b",
      "s3://a_bucket/../x",
      "s3://bucket/a b",
      `s3://bucket/${"x/".repeat(400)}`,
      "s3://bucket?endpoint=host",
      "s3://bucket?endpoint=ftp://host",
      "s3://bucket?region=a/b",
      "s3://bucket?region=a&region=b",
      "s3://bucket?style=round",
      "s3://bucket#x",
    ]) {
      assert.throws(() => parseS3Location(location), isKind("failed"), location);
    }
  });
});

const xml = (text: string): string => `<?xml version="1.0" encoding="UTF-8"?>${text}`;
const error = (status: number, code: string): Answer => ({ status, body: xml(`<Error><Code>${code}</Code><Message>no</Message></Error>`) });

/** A store on a server that answers `answer`, after it has said that the bucket has no object lock. */
async function against(answer: (asked: Asked) => Answer): Promise<{ stub: HttpStub; store: S3Store }> {
  const stub = await startStub((asked) =>
    asked.url.includes("?object-lock") ? error(404, "ObjectLockConfigurationNotFoundError") : answer(asked),
  );
  return { stub, store: await S3Store.open(parseS3Location(`s3://bucket/p?endpoint=${stub.endpoint}`), { signal, credentials }) };
}

describe("a store on S3", () => {
  it("creates with If-None-Match, having seen once that the server minds it", async () => {
    const taken = new Set<string>();
    const { stub, store } = await against(({ method, url, headers }) => {
      assert.equal(method, "PUT");
      assert.equal(headers["if-none-match"], "*");
      if (taken.has(url)) return error(412, "PreconditionFailed");
      taken.add(url);
      return { status: 200 };
    });
    await using _ = stub;
    assert.equal(await store.put("a/b", [Buffer.from("x")], { signal }), "created");
    assert.equal(await store.put("a/b", [Buffer.from("y")], { signal }), "exists");
    const urls = stub.asked.map(({ url }) => url.replace(/\?.*/, "")).slice(1);
    assert.deepEqual(urls, ["/bucket/p/.create-only", "/bucket/p/.create-only", "/bucket/p/a/b", "/bucket/p/a/b"]);
  });

  it("looks before it writes where the server does not mind it", async () => {
    const { stub, store } = await against(({ method }) => ({ status: method === "HEAD" ? 404 : 200 }));
    await using _ = stub;
    assert.equal(await store.put("a", [], { signal }), "created");
    assert.deepEqual(
      stub.asked.slice(3).map(({ method }) => method),
      ["HEAD", "PUT"],
    );
  });

  it("knows what may pass from what will not", async () => {
    for (const [answer, kind] of [
      [error(503, "SlowDown"), "unavailable"],
      [error(500, "InternalError"), "unavailable"],
      [error(429, "TooManyRequests"), "unavailable"],
      [error(409, "ConditionalRequestConflict"), "unavailable"],
      [error(400, "RequestTimeout"), "unavailable"],
      [{ status: 502, body: "<html>bad gateway" }, "unavailable"],
      [error(403, "AccessDenied"), "denied"],
      [error(403, "SignatureDoesNotMatch"), "denied"],
      [error(400, "ExpiredToken"), "denied"],
      [error(404, "NoSuchBucket"), "not-found"],
      [error(507, "XMinioStorageFull"), "no-space"],
      [error(501, "NotImplemented"), "unsupported"],
      [error(400, "EntityTooLarge"), "failed"],
      [error(301, "PermanentRedirect"), "failed"],
    ] as const) {
      const { stub, store } = await against(() => answer);
      await using _ = stub;
      await assert.rejects(store.get("a", { signal, maxBytes: 10 }), isKind(kind), JSON.stringify(answer));
    }
  });

  it("takes a line that breaks, and a server that is not there, for what may pass", async () => {
    const { stub, store } = await against(() => ({ status: 200, body: "half", cutAfter: 8 }));
    await using closing = stub;
    await assert.rejects(store.get("a", { signal, maxBytes: 10 }), isKind("unavailable"));
    await assert.rejects(store.read("a", 0, new Uint8Array(8), { signal }), isKind("unavailable"));
    await closing[Symbol.asyncDispose]();
    await assert.rejects(store.stat("a", { signal }), isKind("unavailable"));
  });

  it("does not take the start of an object for its middle", async () => {
    const { stub, store } = await against(() => ({ status: 200, body: "whole object" }));
    await using _ = stub;
    await assert.rejects(store.read("a", 6, new Uint8Array(3), { signal }), isKind("unsupported"));
    const into = new Uint8Array(5);
    assert.equal(await store.read("a", 0, into, { signal }), 5);
    assert.equal(Buffer.from(into).toString(), "whole");
  });

  const page = (names: readonly string[], next?: string): Answer => {
    const contents = names.map((name) => `<Contents><Key>${name}</Key><Size>1</Size></Contents>`).join("");
    const more = next === undefined ? "false" : `true</IsTruncated><NextContinuationToken>${next}</NextContinuationToken><IsTruncated>true`;
    return { status: 200, body: xml(`<ListBucketResult>${contents}<IsTruncated>${more}</IsTruncated></ListBucketResult>`) };
  };

  it("lists only what is an object of the vault", async () => {
    const { stub, store } = await against(() => page(["p/a", "p/.create-only", "p/b/", "p/c/D", "p/d", "q/e", "p/../f"]));
    await using _ = stub;
    assert.deepEqual(await namesIn(store, ""), ["a", "d"]);
  });

  it("does not go along with a server that lists in another order, or for ever", async () => {
    const disordered = await against(() => page(["p/b", "p/a"]));
    await using _ = disordered.stub;
    await assert.rejects(namesIn(disordered.store, ""), isKind("unsupported"));
    const endless = await against(() => page([], "same"));
    await using __ = endless.stub;
    await assert.rejects(namesIn(endless.store, ""), isKind("failed"));
  });

  it("says that a bucket is not there, and that it has no lock", async () => {
    const stub = await startStub(() => error(404, "NoSuchBucket"));
    await using _ = stub;
    const where = parseS3Location(`s3://bucket?endpoint=${stub.endpoint}`);
    await assert.rejects(
      S3Store.open(where, { signal, credentials }),
      (failure) => isKind("not-found")(failure) && /make it first/.test(String(failure)),
    );
    const { stub: other, store } = await against(() => ({ status: 200 }));
    await using __ = other;
    assert.equal(store.enforcesRetention, false);
    await assert.rejects(store.extendRetention("a", Date.now(), { signal }), isKind("unsupported"));
  });
});
