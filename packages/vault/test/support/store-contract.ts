import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { type BlobInfo, type BlobStore, isNotFound, StoreError } from "@godwit/vault";

/** Two handles on one empty place, as two machines would have them. */
export interface StorePair extends AsyncDisposable {
  readonly store: BlobStore;
  readonly other: BlobStore;
}

const { signal } = new AbortController();
const kib = 1024;

export function isKind(kind: StoreError["kind"]): (error: unknown) => boolean {
  return (error) => error instanceof StoreError && error.kind === kind;
}

/** Bytes that tell where they were taken from. */
export function bytesOf(length: number, seed = 1): Uint8Array {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(Math.imul(at + seed, 2654435761) >>> 0, at);
  return bytes;
}

export async function namesIn(store: BlobStore, prefix: string, from?: string): Promise<string[]> {
  const infos = await Array.fromAsync(store.list(prefix, { signal, ...(from === undefined ? {} : { after: from }) }));
  return infos.map(({ name }) => name);
}

async function text(store: BlobStore, name: string): Promise<string> {
  return Buffer.from(await store.get(name, { signal, maxBytes: 1 << 20 })).toString();
}

async function put(store: BlobStore, name: string, content: string | Uint8Array): Promise<"created" | "exists"> {
  return await store.put(name, [typeof content === "string" ? Buffer.from(content) : content], { signal });
}

const hostileNames = [
  "",
  "/",
  "/a",
  "a/",
  "a//b",
  ".",
  "..",
  "../a",
  "a/../b",
  "a/.",
  "A",
  "a b",
  "a.b",
  "a\0",
  "a\n",
  "é",
  "a%2fb",
  "a\\b",
];
const hostilePrefixes = ["a", "/", "../", "a//", "a/../", "A/", "a", ".tmp/", "a\0/"];

interface Promised {
  readonly title: string;
  readonly check: (pair: StorePair) => Promise<void>;
}

const promised: Promised[] = [];

function promise(title: string, check: Promised["check"]): void {
  promised.push({ title, check });
}

/**
 * Everything that {@link BlobStore} promises, to be run as tests: `for (const { title, check } of
 * storeContract) it(title, () => check(pair))`. Each keeps to a prefix of its own, so that one place serves
 * them all.
 */
export const storeContract: readonly Promised[] = promised;

promise("keeps what is written steadily like all else, whatever its parts", async ({ store, other }) => {
  const parts = [bytesOf(3), bytesOf((2 << 20) + 4, 2), bytesOf(1 << 20, 3)];
  assert.equal(await store.put("data/steady", parts, { signal, steady: true }), "created");
  const kept = await other.get("data/steady", { signal, maxBytes: 4 << 20 });
  assert.equal(Buffer.compare(kept, Buffer.concat(parts)), 0);
});

promise("joins the parts of an object, of which there may be none", async ({ store }) => {
  const shared = new Uint8Array(new SharedArrayBuffer(16), 4, 3);
  shared.set(Buffer.from("mid"));
  assert.equal(await store.put("parts/some", [Buffer.from("one "), shared, new Uint8Array(0), Buffer.from(" two")], { signal }), "created");
  assert.equal(await text(store, "parts/some"), "one mid two");
  assert.equal(await store.put("parts/shared", [shared], { signal }), "created");
  assert.equal(await text(store, "parts/shared"), "mid");
  for (const [name, parts] of Object.entries({ none: [], empty: [new Uint8Array(0)] })) {
    assert.equal(await store.put(`parts/${name}`, parts, { signal }), "created");
    assert.equal((await store.get(`parts/${name}`, { signal, maxBytes: 0 })).length, 0);
    assert.equal((await store.stat(`parts/${name}`, { signal }))?.size, 0);
    assert.equal(await put(store, `parts/${name}`, "x"), "exists");
  }
});

promise("never overwrites: the old bytes stand, for every handle", async ({ store, other }) => {
  assert.equal(await put(store, "once/a", "first"), "created");
  for (const handle of [store, other]) {
    assert.equal(await put(handle, "once/a", "second and longer"), "exists");
    assert.equal(await put(handle, "once/a", "first"), "exists");
    assert.equal(await text(handle, "once/a"), "first");
  }
});

promise("lets exactly one of many writers of a name win, and keeps that one's bytes", async ({ store, other }) => {
  for (let round = 0; round < 3; round += 1) {
    const name = `race/${round}`;
    const wins = await Promise.all(
      Array.from({ length: 10 }, (_, i) => put(i % 2 ? store : other, name, bytesOf(70 * kib + i, i + round))),
    );
    const winners = wins.flatMap((win, i) => (win === "created" ? [i] : []));
    assert.equal(winners.length, 1, `${wins.join()} in round ${round}`);
    const winner = winners[0]!;
    const stored = await store.get(name, { signal, maxBytes: 1 << 20 });
    assert.equal(Buffer.compare(stored, bytesOf(70 * kib + winner, winner + round)), 0);
    assert.deepEqual(
      await namesIn(store, "race/"),
      Array.from({ length: round + 1 }, (_, i) => `race/${i}`),
    );
  }
});

promise("shows an object whole or not at all while it appears", async ({ store, other }) => {
  const content = bytesOf(6 << 20);
  const state = { done: false };
  const storing = store
    .put("whole/a", [content.subarray(0, 1 << 20), content.subarray(1 << 20)], { signal })
    .finally(() => (state.done = true));
  const watch = async (): Promise<void> => {
    while (!state.done) {
      const sizes = [
        (await other.stat("whole/a", { signal }))?.size,
        (await Array.fromAsync(other.list("whole/", { signal })))[0]?.size,
        await other.read("whole/a", content.length - 1, new Uint8Array(9), { signal }).catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
          return undefined;
        }),
      ];
      assert.ok(sizes[0] === undefined || sizes[0] === content.length, `${sizes[0]} by stat`);
      assert.ok(sizes[1] === undefined || sizes[1] === content.length, `${sizes[1]} by list`);
      assert.ok(sizes[2] === undefined || sizes[2] === 1, `${sizes[2]} by read`);
    }
  };
  await Promise.all([storing, watch(), watch()]);
  assert.equal(Buffer.compare(await other.get("whole/a", { signal, maxBytes: content.length }), content), 0);
});

promise("deletes for good and for all, is not surprised by what is not there, and lets a name begin anew", async ({ store, other }) => {
  await put(store, "gone/a", "old");
  await store.read("gone/a", 0, new Uint8Array(3), { signal });
  await put(store, "gone/b", "stays");
  await other.delete("gone/a", { signal });
  await store.delete("gone/a", { signal });
  await store.delete("gone/never", { signal });
  await store.delete("nowhere/at/all", { signal });
  assert.equal(await store.stat("gone/a", { signal }), undefined);
  await assert.rejects(store.get("gone/a", { signal, maxBytes: 10 }), isNotFound);
  assert.deepEqual(await namesIn(other, "gone/"), ["gone/b"]);
  const into = new Uint8Array(3);
  await assert.rejects(store.read("gone/a", 0, into, { signal }), isNotFound);
  assert.equal(await put(store, "gone/a", "new"), "created");
  assert.equal(await text(other, "gone/a"), "new");
  assert.equal(await store.read("gone/a", 0, into, { signal }), 3);
  assert.equal(Buffer.from(into).toString(), "new");
  await store.delete("gone/b", { signal });
  await store.delete("gone/a", { signal });
  assert.deepEqual(await namesIn(store, "gone/"), []);
  assert.equal(await put(store, "gone/deep/er", "x"), "created");
});

promise("gets a whole object, but no longer one than the caller allows", async ({ store }) => {
  await put(store, "get/a", "123456");
  assert.equal(Buffer.from(await store.get("get/a", { signal, maxBytes: 6 })).toString(), "123456");
  await assert.rejects(store.get("get/a", { signal, maxBytes: 5 }), isKind("too-large"));
  await assert.rejects(store.get("get/a", { signal, maxBytes: 0 }), isKind("too-large"));
  await assert.rejects(store.get("get/b", { signal, maxBytes: 5 }), isNotFound);
});

promise("reads any part, and says where the object ends", async ({ store }) => {
  const content = bytesOf(100_003);
  await put(store, "read/a", content);
  for (const [offset, length, got] of [
    [0, 1, 1],
    [0, 100_003, 100_003],
    [0, 100_004, 100_003],
    [1, 100_002, 100_002],
    [99_999, 50, 4],
    [100_002, 1, 1],
    [100_003, 1, 0],
    [100_004, 70_000, 0],
    [1e12, 5, 0],
    [65_536, 4096, 4096],
    [10, 0, 0],
  ] as const) {
    for (const memory of [new ArrayBuffer(length + 20), new SharedArrayBuffer(length + 20)]) {
      const all = new Uint8Array(memory).fill(0xee);
      assert.equal(await store.read("read/a", offset, all.subarray(10, 10 + length), { signal }), got, `${length} at ${offset}`);
      assert.equal(Buffer.compare(all.subarray(10, 10 + got), content.subarray(offset, offset + got)), 0, `${length} at ${offset}`);
      assert.ok(all.subarray(10 + length).every((byte) => byte === 0xee) && all.subarray(0, 10).every((byte) => byte === 0xee));
    }
  }
  await put(store, "read/empty", "");
  assert.equal(await store.read("read/empty", 0, new Uint8Array(4), { signal }), 0);
  assert.equal(await store.read("read/empty", 7, new Uint8Array(4), { signal }), 0);
  await assert.rejects(store.read("read/nothing", 0, new Uint8Array(1), { signal }), isNotFound);
  await assert.rejects(store.read("read/nothing", 5, new Uint8Array(0), { signal }), isNotFound);
  await assert.rejects(store.read("nowhere/at/all", 0, new Uint8Array(1), { signal }), isNotFound);
});

promise("gives back a large object as it was, whole and in parts", async ({ store }) => {
  const content = bytesOf(20 << 20, 3);
  await put(store, "large/a", content);
  assert.equal(Buffer.compare(await store.get("large/a", { signal, maxBytes: content.length }), content), 0);
  const into = new Uint8Array(300 * kib);
  for (const offset of [0, 5_000_000, (20 << 20) - 300 * kib]) {
    assert.equal(await store.read("large/a", offset, into, { signal }), into.length);
    assert.equal(Buffer.compare(into, content.subarray(offset, offset + into.length)), 0);
  }
});

promise("tells the size of an object, and when it came by the storage's clock", async ({ store }) => {
  await put(store, "stat/a", "12345");
  const [info] = await Array.fromAsync(store.list("stat/", { signal }));
  const { name, size, modified } = (await store.stat("stat/a", { signal })) as BlobInfo;
  assert.deepEqual([name, size, info?.name, info?.size], ["stat/a", 5, "stat/a", 5]);
  assert.ok(Number.isFinite(modified) && Math.abs(modified - info!.modified) < 2000);
  assert.equal(await store.stat("stat/b", { signal }), undefined);
  assert.equal(await store.stat("nowhere/at/all", { signal }), undefined);
});

promise("lists in the order of the names' bytes, each once, from after any name on", async ({ store, other }) => {
  const names = ["l/0", "l/a/1", "l/a/1z/y", "l/a/2", "l/a/b/c/d", "l/a0", "l/a0a/1", "l/aa", "l/b/a", "l/z"];
  await Promise.all(names.toReversed().map((name) => put(store, name, name)));
  assert.deepEqual(
    names,
    names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
  );
  assert.deepEqual(await namesIn(other, "l/"), names);
  assert.deepEqual(
    (await namesIn(other, "")).filter((name) => name.startsWith("l/")),
    names,
  );
  assert.deepEqual(await namesIn(other, "l/a/"), ["l/a/1", "l/a/1z/y", "l/a/2", "l/a/b/c/d"]);
  assert.deepEqual(await namesIn(other, "l/a/b/"), ["l/a/b/c/d"]);
  for (const from of [...names, "a", "l", "l/", "l/a", "l/a/", "l/a/1z", "l/a/3", "l/a/b/c", "l/a00", "l/zz", "m", "zz"]) {
    assert.deepEqual(
      await namesIn(store, "l/", from),
      names.filter((name) => name > from),
      `after ${from}`,
    );
    assert.deepEqual(
      await namesIn(store, "l/a/", from),
      names.filter((name) => name > from && name.startsWith("l/a/")),
      `in l/a/ after ${from}`,
    );
  }
});

promise("lists nothing where nothing is", async ({ store }) => {
  assert.deepEqual(await namesIn(store, "nowhere/"), []);
  await put(store, "ab/c", "x");
  assert.deepEqual(await namesIn(store, "a/"), []);
});

promise("lists every object that stays while others come and go", async ({ store, other }) => {
  const name = (i: number): string => `busy/${String(i).padStart(3, "0")}`;
  await Promise.all(Array.from({ length: 120 }, (_, i) => put(store, name(i), "x")));
  const seen: string[] = [];
  for await (const info of store.list("busy/", { signal })) {
    const number = seen.length;
    seen.push(info.name);
    if (number % 10 === 0) await other.delete(name(110 - number), { signal });
    if (number % 10 === 5) await put(other, `${name(number)}a`, "y");
  }
  assert.deepEqual(seen, seen.toSorted());
  assert.equal(new Set(seen).size, seen.length);
  const stay = Array.from({ length: 120 }, (_, i) => name(i)).filter((_, i) => i % 10 !== 0 || i > 110 || i < 10);
  for (const one of stay) if (one !== name(0)) assert.ok(seen.includes(one), one);
});

promise("may be left in the middle of a listing", async ({ store }) => {
  await Promise.all(Array.from({ length: 30 }, (_, i) => put(store, `left/${i}`, "x")));
  for await (const { name } of store.list("left/", { signal })) if (name === "left/12") break;
  assert.equal((await namesIn(store, "left/")).length, 30);
});

promise("does nothing for who has given up already, and says the reason", async ({ store }) => {
  await put(store, "abort/a", "stays");
  const reason = new Error("enough");
  const aborted = { signal: AbortSignal.abort(reason) };
  const says = (error: unknown): boolean => error === reason;
  await assert.rejects(store.put("abort/b", [Buffer.from("x")], aborted), says);
  await assert.rejects(store.get("abort/a", { ...aborted, maxBytes: 9 }), says);
  await assert.rejects(store.read("abort/a", 0, new Uint8Array(3), aborted), says);
  await assert.rejects(store.stat("abort/a", aborted), says);
  await assert.rejects(store.delete("abort/a", aborted), says);
  await assert.rejects(Array.fromAsync(store.list("abort/", aborted)), says);
  assert.deepEqual(await namesIn(store, "abort/"), ["abort/a"]);
});

promise("has stored all or nothing, and says the reason, when given up in the middle", async ({ store }) => {
  const reason = new Error("enough");
  const content = bytesOf(3 << 20);
  for (let i = 0; i < 12; i += 1) {
    const controller = new AbortController();
    const name = `abort/put/${i}`;
    const storing = store.put(name, [content], { signal: controller.signal }).then(
      () => undefined,
      (error: unknown) => error,
    );
    await (i < 4 ? new Promise((resolve) => setImmediate(resolve)) : sleep(i)); // the moment of the blow
    controller.abort(reason);
    const error = await storing;
    assert.ok(error === undefined || error === reason, String(error));
    const stored = await store.get(name, { signal, maxBytes: content.length }).catch((failure: unknown) => {
      if (!isNotFound(failure)) throw failure;
      return undefined;
    });
    assert.ok(stored ? Buffer.compare(stored, content) === 0 : error === reason, `${name} is not whole`);
  }
});

promise("leaves the caller's memory alone once it has said so", async ({ store }) => {
  await put(store, "abort/memory", bytesOf(3 << 20));
  const reason = new Error("enough");
  for (let i = 0; i < 6; i += 1) {
    const controller = new AbortController();
    const into = new Uint8Array(3 << 20);
    const reading = store.read("abort/memory", 0, into, { signal: controller.signal }).catch((error: unknown) => {
      assert.equal(error, reason);
      return undefined;
    });
    await sleep(i); // the moment of the blow
    controller.abort(reason);
    if ((await reading) !== undefined) continue;
    into.fill(0);
    await store.get("abort/memory", { signal, maxBytes: 3 << 20 });
    assert.ok(into.every((byte) => byte === 0));
  }
  const controller = new AbortController();
  const seen: string[] = [];
  const listing = (async () => {
    for await (const { name } of store.list("", { signal: controller.signal })) {
      seen.push(name);
      controller.abort(reason);
    }
  })();
  await assert.rejects(listing, (error) => error === reason);
  assert.ok(seen.length > 0);
});

promise("locks objects by the storage's own means, or says that it cannot", async ({ store }) => {
  // Longer than the test takes on any machine.
  const until = Date.now() + 600_000;
  const options = { signal, retainUntil: until };
  assert.equal(await store.put("kept/a", [Buffer.from("locked")], options), "created");
  assert.equal(await store.put("kept/b", [Buffer.from("free")], { signal }), "created");
  if (!store.enforcesRetention) {
    await assert.rejects(store.extendRetention("kept/b", until, { signal }), isKind("unsupported"));
    await store.delete("kept/a", { signal });
    assert.equal(await store.stat("kept/a", { signal }), undefined);
    return;
  }
  const lockOf = async (name: string): Promise<number> => (await store.stat(name, { signal }))?.retainUntil ?? 0;
  assert.ok((await lockOf("kept/a")) >= until);
  await assert.rejects(store.delete("kept/a", { signal }), isKind("retained"));
  assert.equal(await text(store, "kept/a"), "locked");
  assert.equal(await put(store, "kept/a", "other"), "exists");
  assert.equal(await text(store, "kept/a"), "locked");
  assert.equal(await lockOf("kept/b"), 0);
  await store.extendRetention("kept/b", until + 500, { signal });
  const locked = await lockOf("kept/b");
  assert.ok(locked >= until + 500);
  await store.extendRetention("kept/b", until - 3000, { signal });
  assert.equal(await lockOf("kept/b"), locked);
  await assert.rejects(store.delete("kept/b", { signal }), isKind("retained"));
  await assert.rejects(store.extendRetention("kept/never", until, { signal }), isNotFound);
  // Once the date has passed, deletion works.
  assert.equal(await store.put("kept/c", [Buffer.from("soon")], { signal, retainUntil: Date.now() + 3000 }), "created");
  const soon = await lockOf("kept/c");
  for (const deadline = Date.now() + 30_000; ; await sleep(200)) {
    const gone = await store.delete("kept/c", { signal }).then(
      () => true,
      (error: unknown) => {
        if (!isKind("retained")(error)) throw error;
        return false;
      },
    );
    if (gone) break;
    assert.ok(Date.now() < deadline, "the lock does not end");
  }
  assert.ok(Date.now() >= soon - 2000);
  assert.equal(await store.stat("kept/c", { signal }), undefined);
});

promise("refuses what is no object name or prefix, whatever is asked", async ({ store }) => {
  for (const name of [...hostileNames, "a".repeat(201), "a/".repeat(100) + "b"]) {
    const refused = isKind("failed");
    await assert.rejects(put(store, name, "x"), refused, JSON.stringify(name));
    await assert.rejects(store.get(name, { signal, maxBytes: 10 }), refused, JSON.stringify(name));
    await assert.rejects(store.read(name, 0, new Uint8Array(1), { signal }), refused, JSON.stringify(name));
    await assert.rejects(store.stat(name, { signal }), refused, JSON.stringify(name));
    await assert.rejects(store.delete(name, { signal }), refused, JSON.stringify(name));
  }
  for (const prefix of hostilePrefixes) await assert.rejects(namesIn(store, prefix), isKind("failed"), JSON.stringify(prefix));
});

promise("takes the longest name there may be", async ({ store }) => {
  const name = `long/${"n".repeat(195)}`;
  assert.equal(await put(store, name, "x"), "created");
  assert.deepEqual(await namesIn(store, "long/"), [name]);
});

promise("answers many calls of all kinds at once", async ({ store }) => {
  const name = (i: number): string => `many/${i % 4}/${i}`;
  await Promise.all(Array.from({ length: 64 }, (_, i) => put(store, name(i), bytesOf(i * 97, i))));
  await Promise.all(
    Array.from({ length: 64 }, async (_, i) => {
      const content = bytesOf(i * 97, i);
      const into = new Uint8Array(50);
      if (i % 4 === 0) assert.deepEqual(Buffer.from(await store.get(name(i), { signal, maxBytes: 1 << 16 })), content);
      else if (i % 4 === 1) assert.equal((await store.stat(name(i), { signal }))?.size, content.length);
      else if (i % 4 === 2)
        assert.deepEqual(Buffer.from(into.buffer, 0, await store.read(name(i), 8, into, { signal })), content.subarray(8, 58));
      else await store.delete(name(i), { signal });
    }),
  );
  assert.equal((await namesIn(store, "many/")).length, 48);
});

promise("says where it is without saying a secret", async ({ store }) => {
  assert.notEqual(store.location, "");
  assert.doesNotMatch(store.location, /secret|sig=|AccountKey|godwitgodwit/i);
});
