import assert from "node:assert/strict";
import { test } from "node:test";
import { type Point, Vault } from "@godwit/vault";
import { pointsText } from "../src/format/gc.ts";
import { unlock } from "../src/keys/keys.ts";
import { MemoryDisk, newVault, noise, reopen, secret, signal, tuning } from "./support/disks.ts";
import { FaultyStore } from "./support/faulty-store.ts";
import { MemoryStore } from "./support/memory-store.ts";

const kib = 1024;
const day = 24 * 3600 * 1000;

/** A disk of noise in which `changes` writes of 4 KiB differ from the same seed without. */
function contentOf(seed: number, changes = 0): Uint8Array {
  const content = new Uint8Array(900 * kib);
  content.set(noise(800 * kib, seed));
  for (let i = 0; i < changes; i += 1) content.set(noise(4 * kib, seed * 1000 + i), ((i * 37) % 200) * 4 * kib);
  return content;
}

const put = (vault: Vault, name: string, content: Uint8Array, base?: Point): Promise<Point> =>
  vault.put({ name, disks: [{ name: "vda", source: new MemoryDisk(content) }], ...(base ? { base } : {}) }, { signal });

async function expectPoint(vault: Vault, point: Point, content: Uint8Array): Promise<void> {
  const target = new MemoryDisk(content.length);
  await vault.restore(point, "vda", target, { signal });
  assert.ok(Buffer.from(target.content).equals(content), `${point.name} ${point.id} comes back`);
}

const bytesOf = (store: MemoryStore, prefix: string): number =>
  [...store.objects].filter(([name]) => name.startsWith(prefix)).reduce((sum, [, object]) => sum + object.length, 0);

const namesOf = (store: MemoryStore, prefix: string): string[] => [...store.objects.keys()].filter((name) => name.startsWith(prefix));

test("gc frees what deleted points alone needed, in one run when nothing else is under way, and leaves no trace of itself", async () => {
  const { store, vault } = await newVault();
  const [one, two] = [contentOf(1), contentOf(2)];
  const kept = await put(vault, "a", one);
  const gone = await put(vault, "b", two);
  const before = bytesOf(store, "data/");
  await vault.deletePoint(gone.id, { signal });
  const result = await vault.gc({ signal });
  assert.ok(result.freedBytes > 800 * kib && result.deletedPacks >= 4, JSON.stringify(result));
  assert.deepEqual(result.pending, []);
  assert.ok(bytesOf(store, "data/") <= before / 2 + 10 * kib);
  for (const prefix of ["mark/", "wait/", "doom/", "session/"]) assert.deepEqual(namesOf(store, prefix), [], prefix);
  await expectPoint(await reopen(store), kept, one);
  const again = await vault.gc({ signal });
  assert.equal(again.deletedPacks, 0);
  assert.deepEqual((await (await reopen(store)).verify({ signal, packs: "all" })).damage, []);
  // And what was freed can be stored again.
  await expectPoint(await reopen(store), await put(vault, "b", two), two);
});

test("a dry run says what gc would free and writes nothing", async () => {
  const { store, vault } = await newVault();
  const gone = await put(vault, "a", contentOf(1));
  await put(vault, "b", contentOf(2));
  await vault.deletePoint(gone.id, { signal });
  const before = new Map(store.objects);
  const dry = await vault.gc({ signal, dryRun: true });
  assert.deepEqual([...store.objects.keys()], [...before.keys()]);
  const real = await vault.gc({ signal });
  assert.equal(dry.deadPacks, real.deletedPacks);
  assert.equal(dry.deadBytes, real.freedBytes);
});

test("packs that are mostly dead are rewritten within the bound, the rest in later runs", async () => {
  const { store, vault } = await newVault();
  const old = contentOf(1);
  const young = Uint8Array.from(old);
  // All but every eighth chunk changes.
  for (let at = 0; at < 800 * kib; at += 4 * kib) if ((at / (4 * kib)) % 8 !== 0) young.set(noise(4 * kib, at + 7), at);
  const first = await put(vault, "a", old);
  const second = await put(vault, "a", young);
  await vault.deletePoint(first.id, { signal });
  const before = bytesOf(store, "data/");
  const bounded = await vault.gc({ signal, maxRewriteBytes: 300 * kib });
  assert.ok(bounded.rewrittenPacks === 1 && bounded.postponedPacks > 0, JSON.stringify(bounded));
  await vault.gc({ signal });
  assert.ok(bytesOf(store, "data/") < before - 600 * kib);
  const after = await reopen(store);
  await expectPoint(after, second, young);
  assert.deepEqual((await after.verify({ signal, packs: "all" })).damage, []);
});

test("a little memory takes more passes and frees the same", async () => {
  const { store, vault } = await newVault();
  const gone = await put(vault, "a", contentOf(1));
  await put(vault, "b", contentOf(2));
  await vault.deletePoint(gone.id, { signal });
  const copy = await reopen(new MemoryStore(store.objects));
  let passes = 0;
  const small = await copy.gc({
    signal,
    memoryBytes: 512,
    onProgress: (progress) => {
      if (progress.step === "survey") passes = progress.passes;
    },
  });
  assert.ok(passes > 3);
  assert.equal(small.freedBytes, (await vault.gc({ signal })).freedBytes);
});

test("a reader that opened the vault before a gc still finds everything after it", async () => {
  const { store, vault } = await newVault();
  const content = contentOf(1, 0);
  const first = await put(vault, "a", content);
  const changed = contentOf(1, 190);
  const second = await put(vault, "a", changed);
  const reader = await reopen(store);
  await expectPoint(reader, first, content);
  await vault.deletePoint(first.id, { signal });
  await vault.gc({ signal, maxDeadShare: 0 });
  await expectPoint(reader, second, changed);
});

test("many small puts leave few index segments after gc, and all points", async () => {
  const { store, vault } = await newVault();
  const points: [Point, Uint8Array][] = [];
  for (let i = 0; i < 24; i += 1) {
    const content = contentOf(3, i);
    points.push([await put(vault, "a", content, points.at(-1)?.[0]), content]);
  }
  assert.ok(namesOf(store, "index/").length >= 24);
  await vault.gc({ signal });
  assert.ok(namesOf(store, "index/").length <= 12);
  const after = await reopen(store);
  for (const [point, content] of points) await expectPoint(after, point, content);
});

for (const how of ["fail-before", "fail-after"] as const) {
  test(`a gc that dies at any write (${how}) leaves every point whole, and the next one finishes`, async () => {
    const { store: original, vault } = await newVault();
    const [old, young] = [noise(120 * kib, 1), noise(120 * kib, 1)];
    for (let at = 0; at < 100 * kib; at += 8 * kib) young.set(noise(4 * kib, at + 7), at);
    const [gone, kept] = [await put(vault, "a", old), await put(vault, "a", young)];
    await vault.deletePoint(gone.id, { signal });
    await vault.deletePoint((await put(vault, "b", noise(60 * kib, 9))).id, { signal });
    for (let boundary = 0; ; boundary += 1) {
      const where = `${how} at write ${boundary}`;
      const store = new MemoryStore(original.objects);
      let count = 0;
      store.fault = () => (count++ >= boundary ? (count > boundary + 1 ? "fail-before" : how) : "ok");
      const failed = await (await reopen(store)).gc({ signal, maxDeadShare: 0.1 }).then(
        () => false,
        () => true,
      );
      const died = count > boundary;
      store.fault = () => "ok";
      store.now = () => 4 * day;
      const after = await reopen(store);
      assert.deepEqual((await after.verify({ signal, packs: "all" })).damage, [], where);
      for (let run = 0; run < 2; run += 1) await after.gc({ signal, maxDeadShare: 0.1 });
      await expectPoint(after, kept, young);
      assert.ok(bytesOf(store, "data/") < 130 * kib, `all is freed in the end, ${where}`);
      for (const prefix of ["mark/", "wait/", "doom/", "session/"]) assert.deepEqual(namesOf(store, prefix), [], `${prefix} ${where}`);
      if (died) continue;
      assert.ok(!failed && boundary > 12, `a gc has many boundaries, ${boundary}`);
      break;
    }
  });
}

test("what a dead machine's session holds up is freed once the storage's clock shows no sign of it for days", async () => {
  const { store, vault } = await newVault();
  const gone = await put(vault, "a", contentOf(1));
  store.fault = (_operation, name) => (name.startsWith("point/") ? "fail-before" : "ok");
  await assert.rejects(put(vault, "b", contentOf(2)));
  store.fault = () => "ok";
  await vault.deletePoint(gone.id, { signal });
  store.now = () => 2 * day;
  const held = await vault.gc({ signal });
  assert.equal(held.deletedPacks, 0);
  assert.match(held.pending[0]!.why, /under way/);
  store.now = () => 4 * day;
  const freed = await vault.gc({ signal });
  assert.equal(freed.givenUp.length, 1);
  assert.ok(freed.deletedPacks >= 4);
  // What the dead session stored goes, too.
  await vault.gc({ signal });
  assert.ok(bytesOf(store, "data/") < 10 * kib, String(bytesOf(store, "data/")));
});

/** Flips a byte in the middle of every session's object. */
function damageSessions(store: MemoryStore): void {
  for (const name of namesOf(store, "session/")) {
    const damaged = Uint8Array.from(store.objects.get(name)!);
    damaged[damaged.length >> 1]! ^= 1;
    store.objects.set(name, damaged);
  }
}

test("a session whose object is damaged holds gc up no longer than any other", async () => {
  const { store, vault } = await newVault();
  const gone = await put(vault, "a", contentOf(1));
  store.fault = (_operation, name) => (name.startsWith("point/") ? "fail-before" : "ok");
  await assert.rejects(put(vault, "b", contentOf(2)));
  store.fault = () => "ok";
  damageSessions(store);
  await vault.deletePoint(gone.id, { signal });
  store.now = () => 2 * day;
  assert.equal((await vault.gc({ signal })).deletedPacks, 0);
  store.now = () => 4 * day;
  const freed = await vault.gc({ signal });
  assert.equal(freed.givenUp.length, 1);
  assert.deepEqual(freed.pending, []);
  await vault.gc({ signal });
  assert.ok(bytesOf(store, "data/") < 10 * kib, String(bytesOf(store, "data/")));
});

test("a put that sleeps before its last write, its session damaged meanwhile, makes no point of what gc has freed", async () => {
  const { store, vault } = await newVault();
  const content = contentOf(1);
  const gone = await put(vault, "x", content);
  const other = await reopen(store);
  let collecting: Promise<void> | undefined;
  const collect = async (): Promise<void> => {
    damageSessions(store);
    await other.deletePoint(gone.id, { signal });
    for (const days of [1, 7, 8]) {
      store.now = () => days * day;
      await other.gc({ signal });
    }
  };
  const slow = new FaultyStore(store, ({ operation, name }) => {
    if (operation !== "put" || !name.startsWith("point/") || collecting) return undefined;
    return { kind: "delay", until: (collecting = collect()) };
  });
  const sleeper = await Vault.open(slow, secret, { signal, tuning });
  // All that it needs was there, so that the point is the only thing it writes after its session.
  await assert.rejects(put(sleeper, "a", content), { kind: "given-up" });
  assert.ok(bytesOf(store, "data/") < 10 * kib, String(bytesOf(store, "data/")));
  const after = await reopen(store);
  assert.deepEqual(await after.points({ signal }), { points: [], damaged: [], locked: [] });
  await expectPoint(after, await put(after, "a", content), content);
});

test("a put that was given up while it lived makes no point, and can be run again", async () => {
  const { store, vault } = await newVault();
  const content = contentOf(1);
  let jumped = false;
  const other = await reopen(store);
  let collecting: Promise<unknown> | undefined;
  // The clock jumps by a week in the middle of a put, and a gc with something to free comes by.
  const gone = await put(vault, "x", contentOf(9));
  await vault.deletePoint(gone.id, { signal });
  await other.gc({ signal, dryRun: true });
  const source = new MemoryDisk(content);
  const read = source.read.bind(source);
  source.read = async (offset, into, options): Promise<void> => {
    if (!jumped) {
      jumped = true;
      store.now = () => 7 * day;
      collecting = other.gc({ signal });
      await collecting;
      await other.gc({ signal });
    }
    await read(offset, into, options);
  };
  await assert.rejects(vault.put({ name: "a", disks: [{ name: "vda", source }] }, { signal }), { kind: "given-up" });
  assert.deepEqual((await (await reopen(store)).points({ signal })).points, []);
  const point = await put(await reopen(store), "a", content);
  await expectPoint(await reopen(store), point, content);
});

test("a put that was given up indexes nothing any more: nobody counts on packs of which gc knows no owner", async () => {
  const { store, vault } = await newVault();
  const content = noise(8 << 20, 1);
  const other = await reopen(store);
  const source = new MemoryDisk(content);
  const read = source.read.bind(source);
  const segments = (): string[] => namesOf(store, "index/").filter((name) => !isVoid(store.objects.get(name)!));
  let before: string[] | undefined;
  // Given up in the middle of its second batch; what it stores from then on is nobody's.
  source.read = async (offset, into, options): Promise<void> => {
    if (before === undefined && segments().length > 0) {
      before = segments();
      // Until the runs that are in hand beside this one are stored, and show no sign of life any more.
      for (let [week, givenUp] = [1, 0]; givenUp === 0; week += 1) {
        store.now = () => 7 * week * day;
        givenUp = (await other.gc({ signal })).givenUp.length;
      }
    }
    await read(offset, into, options);
  };
  await assert.rejects(vault.put({ name: "a", disks: [{ name: "vda", source }] }, { signal }), { kind: "given-up" });
  assert.ok(before);
  assert.ok(segments().every((name) => before!.includes(name)));
});

const isVoid = (object: Uint8Array): boolean => Buffer.from(object).toString("latin1", 0, 8) === "GWVTVOID";

test("a doom that a hostile machine wrote deletes nothing that points need, and says so", async () => {
  const { store, vault } = await newVault();
  const content = contentOf(1);
  const point = await put(vault, "a", content);
  const packs = namesOf(store, "data/");
  const keys = await unlock(store, secret, signal);
  const mark = "0123456789abcdef";
  const write = async (kind: "MARK" | "WAIT" | "DOOM", name: string, json: unknown): Promise<unknown> =>
    await store.put(name, [keys.sealJson(kind, name, json)], { signal });
  await write("MARK", `mark/${mark}`, { packs: packs.map((pack) => ({ pack, to: [] })), points: pointsText([point.id]), time: "" });
  await write("WAIT", `wait/${mark}`, { sessions: [] });
  await write("DOOM", `doom/${mark}`, { packs });
  const { deletedPacks, pending } = await (await reopen(store)).gc({ signal });
  assert.equal(deletedPacks, 0);
  assert.match(pending[0]!.why, /are needed: it was made by a broken or hostile machine/);
  await expectPoint(await reopen(store), point, content);
  // Captures go on all the same: they count on nothing of it.
  await expectPoint(await reopen(store), await put(await reopen(store), "a", content, point), content);
});

test("a condemned pack that a late point needs is spared even when all indexes were lost meanwhile", async () => {
  const { store, vault } = await newVault();
  const content = contentOf(1);
  const first = await put(vault, "a", content);
  // A capture of the same content is under way while its only point goes and a gc condemns what that had.
  const source = new MemoryDisk(content);
  const read = source.read.bind(source);
  source.read = async (offset, into, options): Promise<void> => {
    await read(offset, into, options);
    await vault.deletePoint(first.id, { signal });
    const { pending } = await (await reopen(store)).gc({ signal });
    assert.equal(pending.length, 1);
  };
  const late = await vault.put({ name: "b", disks: [{ name: "vda", source }] }, { signal });
  assert.equal(late.figures["newChunks"], 0);
  for (const name of namesOf(store, "index/")) store.objects.delete(name);
  for (let run = 0; run < 2; run += 1) {
    await (await reopen(store)).repair({ signal });
    await (await reopen(store)).gc({ signal }).catch(() => undefined);
  }
  const after = await reopen(store);
  await after.repair({ signal });
  await expectPoint(after, late, content);
  await after.gc({ signal });
  await expectPoint(after, late, content);
  assert.deepEqual(namesOf(store, "mark/"), []);
});

test("a mark of which some packs are spared goes all the same, with the others", async () => {
  const { store, vault } = await newVault({ tuning: { ...tuning, batchEntries: 4096 } });
  const content = contentOf(1);
  const first = await put(vault, "a", content);
  // A capture that needs the first third of it is under way when it is condemned.
  const late = Uint8Array.from(content);
  late.set(noise(500 * kib, 5), 300 * kib);
  const source = new MemoryDisk(late);
  const read = source.read.bind(source);
  source.read = async (offset, into, options): Promise<void> => {
    await read(offset, into, options);
    await vault.deletePoint(first.id, { signal });
    await (await reopen(store)).gc({ signal });
  };
  const point = await vault.put({ name: "b", disks: [{ name: "vda", source }] }, { signal });
  const { deletedPacks, pending } = await (await reopen(store)).gc({ signal, maxDeadShare: 1 });
  assert.deepEqual(pending, []);
  assert.ok(deletedPacks > 0);
  assert.deepEqual(namesOf(store, "mark/"), []);
  await expectPoint(await reopen(store), point, late);
});

test("gc frees nothing while a tree cannot be read, and names the point", async () => {
  const { store, vault } = await newVault();
  const gone = await put(vault, "a", contentOf(1));
  await put(vault, "b", contentOf(2));
  await vault.deletePoint(gone.id, { signal });
  const tree = namesOf(store, "tree/").at(-1)!;
  store.objects.delete(tree);
  const before = store.objects.size;
  await assert.rejects((await reopen(store)).gc({ signal }), { kind: "corrupt" });
  assert.equal(store.objects.size, before);
});
