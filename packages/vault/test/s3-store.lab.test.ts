import { after, before, describe, it } from "node:test";
import { parseS3Location, S3Store } from "../src/store/s3/index.ts";
import { type S3Server, startCephS3 } from "./support/ceph.ts";
import { storeContract, type StorePair } from "./support/store-contract.ts";

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
});
