import assert from "node:assert/strict";
import { test } from "node:test";
import { type Store, StoreError } from "@godwit/engine";
import { jobRecord } from "./job-record.ts";

export const storeErrorOf =
  (kind: string) =>
  (error: unknown): boolean =>
    error instanceof StoreError && error.kind === kind;

const network = { id: "n1", name: "Cluster Network 1", description: "", role: "cluster", subnets: ["10.0.0.0/24"] } as const;

/** One test per promise of the `Store` port. `open` gives an empty one. */
export function storeContract(name: string, open: () => Promise<Store>): void {
  test(`${name}: a record is there, replaced, listed by id, and gone`, async () => {
    await using store = await open();
    assert.equal(await store.networks.get("n1"), undefined);
    await store.networks.put("n2", { ...network, id: "n2" });
    await store.networks.put("n1", network);
    await store.networks.put("n1", { ...network, metric: 7 });
    assert.deepEqual(await store.networks.get("n1"), { ...network, metric: 7 });
    assert.deepEqual(
      (await store.networks.list()).map(({ id }) => id),
      ["n1", "n2"],
    );
    await store.networks.delete("n1");
    await store.networks.delete("n1");
    assert.equal(await store.networks.get("n1"), undefined);
  });

  test(`${name}: collections do not see each other, and keep any text`, async () => {
    await using store = await open();
    const odd = "ü\u0000'\"\\\u{1f426} -- ; drop table";
    await store.liveMigration.put(odd, { order: [odd], exclude: [] });
    assert.deepEqual((await store.liveMigration.get(odd))?.order, [odd]);
    assert.deepEqual(await store.hosts.list(), []);
    assert.equal(await store.hostMigration.get(odd), undefined);
  });

  test(`${name}: a job is kept whole; listings leave its log out`, async () => {
    await using store = await open();
    const log = [{ at: "2026-01-01T00:00:00.000Z", level: "info", text: "hello" }] as const;
    const job = jobRecord("a", { log, reasons: [{ code: "c", text: "t" }] });
    assert.deepEqual(await store.jobs.create(job), job);
    assert.deepEqual(await store.jobs.get("a"), job);
    assert.deepEqual(await store.jobs.list({}, { limit: 10 }), [{ ...job, log: [] }]);
    assert.equal(await store.jobs.get("b"), undefined);
  });

  test(`${name}: jobs are listed newest first, filtered, page by page`, async () => {
    await using store = await open();
    for (let i = 0; i < 25; i += 1) {
      const subject = { type: "vm", id: `vm-${i % 2}`, name: "web" } as const;
      await store.jobs.create(jobRecord(`j${i}`, { subject, state: i < 5 ? "running" : "queued", kind: i % 5 === 0 ? "x" : "y" }));
    }
    const seen: string[] = [];
    for (let cursor: string | undefined; ;) {
      const page = await store.jobs.list({}, { limit: 10, cursor });
      seen.push(...page.map(({ id }) => id));
      if (page.length < 10) break;
      cursor = page.at(-1)?.id;
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 25 }, (_, i) => `j${24 - i}`),
    );
    assert.equal((await store.jobs.list({ states: ["running", "done"] }, { limit: 50 })).length, 5);
    assert.equal((await store.jobs.list({ kind: "x" }, { limit: 50 })).length, 5);
    assert.equal((await store.jobs.list({ subjectId: "vm-1", states: ["queued"] }, { limit: 50 })).length, 10);
  });

  test(`${name}: an idempotency key adds one job, however often and at once it is used`, async () => {
    await using store = await open();
    const made = await Promise.all(["a", "b", "c"].map((id) => store.jobs.create(jobRecord(id), "key")));
    assert.equal(new Set(made.map(({ id }) => id)).size, 1);
    assert.equal((await store.jobs.list({}, { limit: 10 })).length, 1);
    await assert.rejects(store.jobs.create(jobRecord("d", { input: { vm: "other" } }), "key"), storeErrorOf("conflict"));
    await assert.rejects(store.jobs.create(jobRecord("d", { kind: "vm.stop" }), "key"), storeErrorOf("conflict"));
    await store.jobs.create(jobRecord("d"), "another key");
    const asked = await store.jobs.create(jobRecord("e", { asked: "x", input: { id: "random" } }), "third key");
    assert.deepEqual(await store.jobs.create(jobRecord("f", { asked: "x", input: { id: "other" } }), "third key"), asked, "asked again");
    await assert.rejects(store.jobs.create(jobRecord("f", { asked: "y", input: { id: "other" } }), "third key"), storeErrorOf("conflict"));
    assert.equal((await store.jobs.find("third key"))?.id, "e");
    assert.equal(await store.jobs.find("no key"), undefined);
  });

  test(`${name}: only the holder of the lease may save, and nobody after the end`, async () => {
    await using store = await open();
    const job = await store.jobs.create(jobRecord("a"));
    await store.jobs.save({ ...job, state: "running" });
    await assert.rejects(store.jobs.save({ ...job, lease: { owner: "two", until: 1 } }), storeErrorOf("lease-lost"));
    await assert.rejects(store.jobs.save({ ...job, lease: undefined }), storeErrorOf("lease-lost"));
    await assert.rejects(store.jobs.save(jobRecord("never created")), storeErrorOf("lease-lost"));
    assert.equal((await store.jobs.get("a"))?.state, "running");
    await store.jobs.save({ ...job, state: "done" });
    assert.equal((await store.jobs.get("a"))?.lease, undefined);
    await assert.rejects(store.jobs.save({ ...job, state: "running" }), storeErrorOf("lease-lost"));
  });

  test(`${name}: a claim takes unfinished jobs whose lease is over, oldest first, and no others`, async () => {
    await using store = await open();
    await store.jobs.create(jobRecord("mine", { lease: { owner: "me", until: 1 } }));
    await store.jobs.create(jobRecord("over-1"));
    await store.jobs.create(jobRecord("alive", { lease: { owner: "three", until: 1 } }));
    await store.jobs.create(jobRecord("over-2", { state: "running" }));
    await store.jobs.create(jobRecord("free", { lease: undefined }));
    const ended = await store.jobs.create(jobRecord("ended"));
    await store.jobs.save({ ...ended, state: "failed" });
    const taken = await store.jobs.claim("me", 5000, (_, lease) => lease.owner === "one");
    assert.deepEqual(
      taken.map(({ id, lease }) => [id, lease]),
      ["over-1", "over-2", "free"].map((id) => [id, { owner: "me", until: 5000 }]),
    );
    await assert.rejects(store.jobs.save(jobRecord("over-1")), storeErrorOf("lease-lost"), "the old holder can no longer act");
    assert.deepEqual(await store.jobs.claim("me", 9000, () => true).then((jobs) => jobs.map(({ id }) => id)), ["alive"]);
  });

  test(`${name}: a renewal extends what the owner still holds, and says what that is`, async () => {
    await using store = await open();
    await store.jobs.create(jobRecord("a"));
    await store.jobs.create(jobRecord("b"));
    const ended = await store.jobs.create(jobRecord("c"));
    await store.jobs.save({ ...ended, state: "cancelled" });
    await store.jobs.claim("two", 1, (id) => id === "b");
    assert.deepEqual(await store.jobs.renew("one", 7777), ["a"]);
    assert.deepEqual((await store.jobs.get("a"))?.lease, { owner: "one", until: 7777 });
    assert.deepEqual((await store.jobs.get("b"))?.lease, { owner: "two", until: 1 });
  });

  test(`${name}: pruning forgets the oldest ended jobs only, with their keys`, async () => {
    await using store = await open();
    for (const id of ["a", "b", "c", "d"]) {
      const job = await store.jobs.create(jobRecord(id), id);
      if (id !== "a") await store.jobs.save({ ...job, state: "done" });
    }
    assert.equal(await store.jobs.prune(1), 2);
    assert.deepEqual(
      (await store.jobs.list({}, { limit: 10 })).map(({ id }) => id),
      ["d", "a"],
    );
    assert.equal((await store.jobs.create(jobRecord("e"), "b")).id, "e");
  });

  test(`${name}: a closed store refuses, and does not pretend`, async () => {
    const store = await open();
    await store[Symbol.asyncDispose]();
    await assert.rejects(store.hosts.list());
    await assert.rejects(store.jobs.create(jobRecord("a")));
  });
}
