import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type BlobStore, type Point, RetryStore, StoreError, Vault } from "@godwit/vault";
import { cheap, grid, MemoryDisk, noise, secret, signal, tuning } from "./support/disks.ts";
import { type Call, FaultyStore, type InjectedFault } from "./support/faulty-store.ts";
import { InstantClock } from "./support/instant-clock.ts";
import { MemoryStore } from "./support/memory-store.ts";
import { isKind } from "./support/store-contract.ts";

const kib = 1024;
const one = new Uint8Array(420 * kib);
one.set(noise(380 * kib, 4));
const two = Uint8Array.from(one);
two.set(noise(340 * kib, 5), 8 * kib);

const open = (store: BlobStore): Promise<Vault> => Vault.open(store, secret, { signal, tuning });
const put = (vault: Vault, content: Uint8Array, base?: Point): Promise<Point> =>
  vault.put({ name: "db", disks: [{ name: "vda", source: new MemoryDisk(content) }], ...(base ? { base } : {}) }, { signal });

async function restored(vault: Vault, point: Point): Promise<Uint8Array> {
  const target = new MemoryDisk(point.disks[0]!.size);
  await vault.restore(point, "vda", target, { signal });
  return target.content;
}

/** A vault with one point, its store, and a way to it that fails as told and is tried again without waiting. */
async function started(): Promise<{ original: MemoryStore; first: Point }> {
  const original = new MemoryStore();
  const vault = await Vault.init(original, { signal, secret, label: "test", cost: cheap, grid, tuning });
  return { original, first: await put(vault, one) };
}

function through(store: MemoryStore, script: FaultyStore["script"], patienceMs = 5000): { faulty: FaultyStore; patient: BlobStore } {
  const faulty = new FaultyStore(store, script);
  return { faulty, patient: new RetryStore(faulty, { clock: new InstantClock(), patienceMs, firstPauseMs: 100, random: () => 1 }) };
}

async function assertWhole(store: MemoryStore, points: readonly (readonly [Point, Uint8Array])[]): Promise<void> {
  const vault = await open(store);
  assert.deepEqual((await vault.verify({ signal, packs: "all" })).damage, []);
  for (const [point, content] of points) assert.equal(Buffer.compare(await restored(vault, point), content), 0);
}

/** Runs `body` with a fault at the first call, at the second, and so on, until it makes no more calls. */
async function atEveryCall(body: (boundary: number) => Promise<{ readonly calls: number }>): Promise<void> {
  let most = 0;
  for (let boundary = 0; boundary === 0 || boundary < most; boundary += 1) most = Math.max(most, (await body(boundary)).calls);
  assert.ok(most > 10, `only ${most} calls`);
}

describe("a put", () => {
  it("outlives a store that is out of reach for a while, whenever that begins", async () => {
    const { original, first } = await started();
    await atEveryCall(async (boundary) => {
      const store = new MemoryStore(original.objects);
      const { faulty, patient } = through(store, ({ number }) =>
        number >= boundary && number < boundary + 4 ? { kind: "error" } : undefined,
      );
      const second = await put(await open(patient), two, first);
      await assertWhole(store, [
        [first, one],
        [second, two],
      ]);
      return faulty;
    });
  });

  it("outlives the loss of any answer", async () => {
    const { original, first } = await started();
    await atEveryCall(async (boundary) => {
      const store = new MemoryStore(original.objects);
      const { faulty, patient } = through(store, ({ number }) => (number === boundary ? { kind: "lost" } : undefined));
      const second = await put(await open(patient), two, first);
      await assertWhole(store, [
        [first, one],
        [second, two],
      ]);
      assert.equal((await (await open(store)).points({ signal })).points.length, 2);
      return faulty;
    });
  });

  it("does not mind calls that arrive twice", async () => {
    const { original, first } = await started();
    const { patient } = through(original, () => ({ kind: "twice" }));
    const second = await put(await open(patient), two, first);
    await assertWhole(original, [
      [first, one],
      [second, two],
    ]);
  });

  it("does not mind writes that were given up and arrive when it is long done, the last one first", async () => {
    const { original, first } = await started();
    const seen = new Set<string>();
    const late = ({ operation, name }: Call): InjectedFault | undefined => {
      if ((operation !== "put" && operation !== "delete") || seen.has(operation + name)) return undefined;
      seen.add(operation + name);
      return { kind: "late" };
    };
    const { faulty, patient } = through(original, late);
    const second = await put(await open(patient), two, first);
    assert.ok((await faulty.deliver()) > 5);
    await assertWhole(original, [
      [first, one],
      [second, two],
    ]);
    const third = await put(await open(original), one, second);
    await assertWhole(original, [[third, one]]);
  });

  it("that failed may have its writes arrive after the next one: all points stay whole", async () => {
    const { original, first } = await started();
    for (const from of ["session/", "data/", "tree/", "index/", "point/"]) {
      const store = new MemoryStore(original.objects);
      let broken = false;
      const faulty = new FaultyStore(store, ({ operation, name }) => {
        broken ||= operation === "put" && name.startsWith(from);
        return broken ? { kind: "late" } : undefined;
      });
      await assert.rejects(put(await open(faulty), two, first), isKind("unavailable"), from);
      const second = await put(await open(store), two, first);
      await faulty.deliver();
      await assertWhole(store, [
        [first, one],
        [second, two],
      ]);
      const { points } = await (await open(store)).points({ signal });
      await assertWhole(
        store,
        points.slice(1).map((point) => [point, two] as const),
      );
    }
  });

  it("gives up when the store stays away, says so, and is gone on with afterwards without sending again", async () => {
    const { original, first } = await started();
    let packs = 0;
    const { faulty, patient } = through(original, ({ operation, name }) =>
      packs >= 2 || (operation === "put" && name.startsWith("data/") && (packs += 1) >= 2) ? { kind: "error" } : undefined,
    );
    await assert.rejects(put(await open(patient), two, first), (error) => {
      assert.match((error as Error).message, /gave up/);
      return error instanceof StoreError && error.kind === "unavailable";
    });
    const calls = faulty.calls;
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(faulty.calls, calls, "nothing goes on in the background");
    const second = await put(await open(original), two, first);
    assert.ok(second.figures["adoptedPacks"]! >= 1);
    await assertWhole(original, [
      [first, one],
      [second, two],
    ]);
  });

  it("lists no point before all that it needs is there, in whatever order the store gets things done", async () => {
    const { original, first } = await started();
    for (let round = 0; round < 12; round += 1) {
      const store = new MemoryStore(original.objects);
      const rank = noise(4096, round + 1);
      const checks: Promise<void>[] = [];
      const turns = async (count: number): Promise<void> => {
        for (let i = 0; i < count; i += 1) await new Promise((resolve) => setImmediate(resolve));
      };
      const faulty = new FaultyStore(store, ({ operation, name, number }) => {
        if (operation === "put" && name.startsWith("point/")) {
          const frozen = new MemoryStore(store.objects);
          checks.push(assertWhole(frozen, [[first, one]]));
          assert.ok([...frozen.objects.keys()].filter((object) => object.startsWith("index/")).length > 1);
        }
        return { kind: "delay", until: turns(rank[number % rank.length]! % 23) };
      });
      const second = await put(await open(faulty), two, first);
      await Promise.all(checks);
      await assertWhole(store, [[second, two]]);
    }
  });
});

describe("a restore", () => {
  it("outlives a store that is out of reach for a while, and the loss of any answer", async () => {
    const { original, first } = await started();
    for (const kind of ["error", "lost"] as const) {
      await atEveryCall(async (boundary) => {
        const { faulty, patient } = through(original, ({ number }) => (number >= boundary && number < boundary + 3 ? { kind } : undefined));
        assert.equal(Buffer.compare(await restored(await open(patient), first), one), 0);
        return faulty;
      });
    }
  });

  it("that gives up says that the store is away, not that the vault is damaged, and is gone on with", async () => {
    const { original, first } = await started();
    let reads = 0;
    const { patient } = through(original, ({ operation, name }) =>
      operation === "read" && name.startsWith("data/") && (reads += 1) > 6 ? { kind: "error" } : undefined,
    );
    const target = new MemoryDisk(first.disks[0]!.size);
    const away = await open(patient);
    await assert.rejects(away.restore(first, "vda", target, { signal, salvage: true }), isKind("unavailable"));
    const present = new MemoryDisk(target.content);
    await (await open(original)).restore(first, "vda", target, { signal, present });
    assert.equal(Buffer.compare(target.content, one), 0);
  });
});

describe("whoever looks for damage", () => {
  it("takes a store that is away for away: nothing is quarantined", async () => {
    const { original } = await started();
    const names = [...original.objects.keys()];
    const pack = names.find((name) => name.startsWith("data/"));
    const { patient } = through(original, ({ name }) => (name === pack ? { kind: "error" } : undefined));
    await assert.rejects((await open(patient)).verify({ signal, packs: "all" }), isKind("unavailable"));
    assert.deepEqual([...original.objects.keys()], names);
  });
});

describe("keys", () => {
  it("are made and changed through a store that loses any answer", async () => {
    await atEveryCall(async (boundary) => {
      const store = new MemoryStore();
      const { faulty, patient } = through(store, ({ number }) => (number === boundary ? { kind: "lost" } : undefined));
      const vault = await Vault.init(patient, { signal, secret, label: "test", cost: cheap, grid, tuning });
      await vault.rekey({ signal });
      const point = await put(vault, one);
      await assertWhole(store, [[point, one]]);
      return faulty;
    });
  });
});
