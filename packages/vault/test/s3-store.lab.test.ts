import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openStore, Vault } from "@godwit/vault";
import { parseS3Location, S3Store } from "../src/store/s3/index.ts";
import { type S3Server, startCephS3 } from "./support/ceph.ts";
import { cheap, grid, MemoryDisk, noise, secret, tuning } from "./support/disks.ts";
import { isKind, namesIn, storeContract, type StorePair } from "./support/store-contract.ts";

const { signal } = new AbortController();

describe("S3 as Ceph speaks it", () => {
  let server: S3Server;
  before(async () => {
    server = await startCephS3();
  });
  after(() => server?.[Symbol.asyncDispose]());

  async function bucket(name: string, options: { readonly objectLock?: boolean } = {}): Promise<StorePair> {
    await server.makeBucket(name, options);
    const where = parseS3Location(`s3://${name}/some/where?endpoint=${server.endpoint}`);
    const { credentials } = server;
    const store = await S3Store.open(where, { signal, credentials, pageSize: 7 });
    const other = await S3Store.open(where, { signal, credentials });
    return {
      store,
      other,
      [Symbol.asyncDispose]: async () => {
        await store[Symbol.asyncDispose]();
        await other[Symbol.asyncDispose]();
      },
    };
  }

  for (const [what, open] of Object.entries({
    "a bucket": () => bucket("plain"),
    "a bucket with object lock, whose versions know no If-None-Match": () => bucket("locked", { objectLock: true }),
  })) {
    describe(`${what} keeps the promises of a store`, () => {
      let pair: StorePair;
      before(async () => {
        pair = await open();
      });
      after(() => pair?.[Symbol.asyncDispose]());
      for (const { title, check } of storeContract) it(title, () => check(pair));
    });
  }

  it("keeps a vault for who may add but not take away, locked for as long as a point is to stay", async () => {
    await server.makeBucket("vault", { objectLock: true });
    const where = parseS3Location(`s3://vault/site1?endpoint=${server.endpoint}`);
    await using owner = await S3Store.open(where, { signal, credentials: server.credentials });
    const options = { signal, secret, label: "test", cost: cheap, grid, tuning };
    await Vault.init(owner, options);
    // As docs/guides/vault-storage.md says.
    const actions = ["ListBucket", "ListBucketVersions", "GetBucketVersioning", "GetBucketObjectLockConfiguration"];
    const onObjects = ["GetObject", "PutObject", "GetObjectRetention", "PutObjectRetention"];
    const capture = await server.makeUser(
      "capture",
      "vault",
      [...actions, ...onObjects].map((action) => `s3:${action}`),
    );

    await using store = await S3Store.open(where, { signal, credentials: capture });
    assert.equal(store.enforcesRetention, true);
    const vault = await Vault.open(store, secret, { signal, tuning });
    const content = noise(1 << 20, 7);
    const point = await vault.put({ name: "web", disks: [{ name: "vda", source: new MemoryDisk(content) }] }, { signal });
    const until = Date.now() + 3_600_000;
    await store.extendRetention(`point/${point.id}`, until, { signal });
    for (const name of await namesIn(store, "data/")) {
      await store.extendRetention(name, until, { signal });
      await assert.rejects(store.delete(name, { signal }), isKind("retained"));
    }
    await assert.rejects(vault.deletePoint(point.id, { signal }), isKind("retained"));
    await assert.rejects(store.delete("config", { signal }), isKind("denied"));

    // Not even the owner can, before the date.
    await assert.rejects(owner.delete(`point/${point.id}`, { signal }), isKind("retained"));
    const target = new MemoryDisk(content.length);
    await (await Vault.open(owner, secret, { signal, tuning })).restore(point, "vda", target, { signal });
    assert.equal(Buffer.compare(target.content, content), 0);
  });

  it("is opened by its location, with credentials from the environment, and with patience", async () => {
    await server.makeBucket("named");
    const location = `s3://named/x?endpoint=${server.endpoint}&region=us-east-1`;
    const before = { ...process.env };
    process.env["AWS_ACCESS_KEY_ID"] = server.credentials.accessKeyId;
    process.env["AWS_SECRET_ACCESS_KEY"] = server.credentials.secretAccessKey;
    try {
      await using store = await openStore(location, { signal });
      assert.equal(store.location, location);
      assert.equal(await store.put("a/b", [Buffer.from("x")], { signal }), "created");
      assert.deepEqual(await namesIn(store, ""), ["a/b"]);
      await assert.rejects(openStore(location.replace("named", "nonesuch"), { signal }), isKind("not-found"));
    } finally {
      process.env = before;
    }
  });
});
