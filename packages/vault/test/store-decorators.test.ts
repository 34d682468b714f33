import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CachingStore, LimitedStore, RetryStore, StoreError } from "@godwit/vault";
import { FaultyStore, type InjectedFault } from "./support/faulty-store.ts";
import { InstantClock } from "./support/instant-clock.ts";
import { MemoryStore } from "./support/memory-store.ts";
import { SlowStore } from "./support/slow-store.ts";
import { bytesOf, isKind, namesIn } from "./support/store-contract.ts";

const { signal } = new AbortController();
const bytes = (text: string): Uint8Array => Buffer.from(text);

describe("a store that is tried again", () => {
  function trying(script: FaultyStore["script"], patienceMs = 60_000): { clock: InstantClock; faulty: FaultyStore; store: RetryStore } {
    const clock = new InstantClock();
    const faulty = new FaultyStore(new MemoryStore(), script);
    return {
      clock,
      faulty,
      store: new RetryStore(faulty, { clock, patienceMs, firstPauseMs: 100, longestPauseMs: 1000, random: () => 1 }),
    };
  }

  it("pauses twice as long each time, up to a limit, and then succeeds", async () => {
    const { clock, store } = trying(({ number }) => (number < 6 ? { kind: "error" } : undefined));
    assert.equal(await store.put("a", [bytes("x")], { signal }), "created");
    assert.deepEqual(clock.sleeps, [100, 200, 400, 800, 1000, 1000]);
  });

  it("waits a random half to whole of a pause, so that many clients do not come back together", async () => {
    const clock = new InstantClock();
    const faulty = new FaultyStore(new MemoryStore(), ({ number }) => (number < 3 ? { kind: "error" } : undefined));
    const draws = [0, 0.5, 1];
    const store = new RetryStore(faulty, { clock, firstPauseMs: 100, random: () => draws.shift()! });
    await store.stat("a", { signal });
    assert.deepEqual(clock.sleeps, [50, 150, 400]);
  });

  it("gives up when its patience is over, and says so with the last error", async () => {
    const { clock, store } = trying(() => ({ kind: "error" }), 3000);
    await assert.rejects(store.get("a", { signal, maxBytes: 9 }), (error) => {
      assert.ok(isKind("unavailable")(error));
      assert.match((error as Error).message, /gave up after trying to read a 5 times in 3 s|gave up .* in \d+ s/);
      return (error as Error).cause instanceof StoreError;
    });
    assert.ok(clock.time <= 3000);
  });

  it("does not try again what will not get better", async () => {
    for (const error of ["denied", "failed", "no-space", "not-found", "too-large", "retained", "unsupported"] as const) {
      const { faulty, store } = trying(() => ({ kind: "error", error }));
      await assert.rejects(store.put("a", [], { signal }), isKind(error));
      assert.equal(faulty.calls, 1, error);
    }
  });

  it("starts nothing after an abort, in a pause or before", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const { faulty, store } = trying(({ number }) => {
      if (number === 2) controller.abort(reason);
      return { kind: "error" };
    });
    await assert.rejects(store.put("a", [], { signal: controller.signal }), (error) => error === reason);
    assert.equal(faulty.calls, 3);
    await assert.rejects(store.delete("a", { signal: controller.signal }), (error) => error === reason);
    assert.equal(faulty.calls, 3);
  });

  it("takes an attempt that is not answered for lost", async () => {
    const never = new Promise<never>(() => undefined);
    const faulty = new FaultyStore(new MemoryStore(), ({ number }) => (number < 2 ? { kind: "delay", until: never } : undefined));
    const store = new RetryStore(faulty, { attemptMs: 20, firstPauseMs: 1 });
    assert.equal(await store.put("a", [bytes("x")], { signal }), "created");
    assert.equal(faulty.calls, 3);
    faulty.calls = 0;
    assert.deepEqual(await namesIn(store, ""), ["a"]);
    assert.equal(faulty.calls, 3);
  });

  it("finds the object there whose answer was lost", async () => {
    const { store } = trying(({ number }) => (number === 0 ? { kind: "lost" } : undefined));
    assert.equal(await store.put("a", [bytes("mine")], { signal }), "exists");
    assert.equal(Buffer.from(await store.get("a", { signal, maxBytes: 9 })).toString(), "mine");
  });

  it("goes on with a listing after the last object it gave, however often it is cut", async () => {
    const { clock, faulty, store } = trying(() => undefined);
    const names = Array.from({ length: 40 }, (_, i) => `l/${i + 10}`);
    for (const name of names) await store.put(name, [], { signal });
    faulty.script = ({ number }) => (number % 2 ? { kind: "lost" } : { kind: "error" });
    assert.deepEqual(await namesIn(store, "l/"), names);
    assert.ok(clock.sleeps.length >= 40);
  });
});

describe("a store with limits", () => {
  it("lets no more calls through at once than it is told, and those who wait may leave", async () => {
    const slow = new SlowStore(new MemoryStore(), 2);
    const store = new LimitedStore(slow, { calls: 4 });
    await Promise.all(Array.from({ length: 30 }, (_, i) => store.put(`a/${i}`, [bytes("x")], { signal })));
    assert.equal(slow.mostAtOnce, 4);
    const controller = new AbortController();
    const reason = new Error("enough");
    const busy = Array.from({ length: 4 }, (_, i) => store.stat(`a/${i}`, { signal }));
    const waiting = store.stat("a/9", { signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(waiting, (error) => error === reason);
    await Promise.all(busy);
    assert.equal((await store.stat("a/9", { signal }))?.size, 1);
  });

  it("lets who lists make other calls meanwhile, even where one call is all", async () => {
    const store = new LimitedStore(new MemoryStore(), { calls: 1 });
    for (let i = 0; i < 5; i += 1) await store.put(`a/${i}`, [], { signal });
    for await (const { name } of store.list("a/", { signal })) await store.delete(name, { signal });
    assert.deepEqual(await namesIn(store, "a/"), []);
  });

  it("keeps to the bytes per second that it is given, each way by itself", async () => {
    const clock = new InstantClock();
    const store = new LimitedStore(new MemoryStore(), { upBytesPerSecond: 1000, downBytesPerSecond: 500, clock });
    for (let i = 0; i < 5; i += 1) await store.put(`a/${i}`, [new Uint8Array(1000)], { signal });
    assert.equal(clock.time, 4000);
    await store.get("a/0", { signal, maxBytes: 1000 });
    assert.equal(clock.time, 4000, "the way down was free");
    await store.read("a/0", 0, new Uint8Array(500), { signal });
    assert.equal(clock.time, 6000);
    await store.stat("a/0", { signal });
    assert.equal(clock.time, 6000);
  });
});

describe("a store with a cache", () => {
  async function cached(maxBytes: number): Promise<{ inner: MemoryStore; store: CachingStore }> {
    const inner = new MemoryStore();
    const store = new CachingStore(inner, { maxBytes, blockBytes: 1000, keeps: (name) => name !== "uncached" });
    await store.put("a", [bytesOf(10_500)], { signal });
    await store.put("uncached", [bytesOf(500)], { signal });
    return { inner, store };
  }

  it("reads nothing twice that it still has", async () => {
    const { inner, store } = await cached(1 << 20);
    const into = new Uint8Array(700);
    for (const offset of [100, 3000, 2900, 10_200, 10_499, 10_500, 9999]) await store.read("a", offset, into, { signal });
    inner.readBytes = 0;
    for (const offset of [100, 3000, 2900, 10_200, 10_499, 9999]) {
      const got = await store.read("a", offset, into, { signal });
      assert.deepEqual(Buffer.from(into.subarray(0, got)), bytesOf(10_500).subarray(offset, offset + 700), `at ${offset}`);
    }
    assert.equal(inner.readBytes, 0);
    await store.read("uncached", 0, into, { signal });
    await store.read("uncached", 0, into, { signal });
    assert.equal(inner.readBytes, 1000);
  });

  it("fetches once what many ask for at a time, and goes on for the others when one gives up", async () => {
    const { inner, store } = await cached(1 << 20);
    inner.readBytes = 0;
    const giver = new AbortController();
    const given = store.read("a", 2000, new Uint8Array(10), { signal: giver.signal });
    const others = [2500, 2100, 1900].map(async (offset) => {
      const into = new Uint8Array(300);
      await store.read("a", offset, into, { signal });
      assert.deepEqual(Buffer.from(into), bytesOf(10_500).subarray(offset, offset + 300), `at ${offset}`);
    });
    giver.abort(new Error("enough"));
    await assert.rejects(given, /enough/);
    await Promise.all(others);
    assert.ok(inner.readBytes <= 3000, `${inner.readBytes} bytes`);
  });

  it("never holds more than it may", async () => {
    const { store } = await cached(4000);
    for (let offset = 0; offset < 10_500; offset += 100) {
      await store.read("a", offset, new Uint8Array(50), { signal });
      assert.ok(store.cachedBytes <= 4000);
    }
    assert.equal(store.cachedBytes, 3500);
  });

  it("forgets what is deleted, also what is being read just then", async () => {
    const { store } = await cached(1 << 20);
    await store.read("a", 0, new Uint8Array(10), { signal });
    const reading = store.read("a", 5000, new Uint8Array(10), { signal });
    await store.delete("a", { signal });
    await reading;
    assert.equal(store.cachedBytes, 0);
    await assert.rejects(store.read("a", 0, new Uint8Array(10), { signal }), isKind("not-found"));
    await assert.rejects(store.read("a", 5000, new Uint8Array(10), { signal }), isKind("not-found"));
  });
});

describe("faults on order", () => {
  it("fail before, fail after, repeat, or come late and in another order", async () => {
    const inner = new MemoryStore();
    const faults: Readonly<Record<string, InjectedFault>> = {
      before: { kind: "error" },
      after: { kind: "lost" },
      twice: { kind: "twice" },
      late1: { kind: "late" },
      late2: { kind: "late" },
    };
    const store = new FaultyStore(inner, ({ name }) => faults[name]);
    for (const name of ["before", "after", "late1", "late2"]) {
      await assert.rejects(store.put(name, [bytes(name)], { signal }), isKind("unavailable"), name);
    }
    assert.equal(await store.put("twice", [bytes("x")], { signal }), "exists");
    assert.deepEqual([...inner.objects.keys()], ["after", "twice"]);
    assert.equal(await store.deliver(), 2);
    assert.deepEqual([...inner.objects.keys()], ["after", "twice", "late2", "late1"]);
  });
});
