import assert from "node:assert/strict";
import { test } from "node:test";
import type { Extent } from "@godwit/core";
import { copyPoints, type Point, type Vault } from "@godwit/vault";
import fc from "fast-check";
import { MemoryDisk, newVault, noise, reopen, signal } from "./support/disks.ts";
import type { MemoryStore } from "./support/memory-store.ts";

const size = 200_000;

type Step =
  | { readonly kind: "write"; readonly offset: number; readonly length: number; readonly seed: number }
  | { readonly kind: "put"; readonly incremental: boolean; readonly dieAt: number }
  | { readonly kind: "delete"; readonly which: number }
  | { readonly kind: "prune"; readonly last: number }
  | { readonly kind: "gc"; readonly share: number; readonly dieAt: number }
  | { readonly kind: "rekey" }
  | { readonly kind: "rewrite"; readonly dieAt: number }
  | { readonly kind: "copy"; readonly dieAt: number }
  | { readonly kind: "reopen" };

/** The write at which something dies; mostly none. */
const dieAt = fc.oneof(fc.constant(100_000), fc.nat(40));

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      offset: fc.nat(size - 1),
      length: fc.integer({ min: 1, max: 40_000 }),
      seed: fc.nat(9),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("put" as const), incremental: fc.boolean(), dieAt: fc.oneof(fc.constant(1000), fc.nat(8)) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const), which: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("prune" as const), last: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("gc" as const), share: fc.constantFrom(0, 0.5), dieAt }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("rekey" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("rewrite" as const), dieAt }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("copy" as const), dieAt }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reopen" as const) }) },
);

/** A disk that is written to, and a vault that must give back what it was given. */
class Model {
  readonly store: MemoryStore;
  vault: Vault;
  readonly disk = new Uint8Array(size);
  /** With what was written since each of them: any may be the base, as any may be deleted. */
  readonly points: { point: Point; content: Uint8Array; changed: Extent[] }[] = [];
  /** A second vault, and what was copied into it: ids there, with their content. */
  readonly #second: Promise<{ store: MemoryStore }> = newVault({ grid: 8192 });
  readonly #copies = new Map<string, Uint8Array>();

  constructor(store: MemoryStore, vault: Vault) {
    this.store = store;
    this.vault = vault;
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case "write":
        return this.#write(step);
      case "put":
        return await this.#put(step);
      case "delete": {
        const [gone] = this.points.splice(step.which, 1);
        if (gone) await this.vault.deletePoint(gone.point.id, { signal });
        return;
      }
      case "prune": {
        const plan = await this.vault.planPrune({ fallback: { last: step.last } }, { signal });
        const { deleted } = await this.vault.applyPrune(plan, { signal });
        for (const id of deleted) {
          this.points.splice(
            this.points.findIndex(({ point }) => point.id === id),
            1,
          );
        }
        return;
      }
      case "gc":
        return await this.#dying(this.store, step.dieAt, () => this.vault.gc({ signal, maxDeadShare: step.share }));
      case "rekey":
        await this.vault.rekey({ signal });
        return;
      case "rewrite":
        await this.#dying(this.store, step.dieAt, () => this.vault.rewriteOldEpochs({ signal }));
        return await this.#learnIds();
      case "copy":
        return await this.#copy(step.dieAt);
      case "reopen":
        this.vault = await reopen(this.store);
    }
  }

  async #dying(store: MemoryStore, dieAt: number, work: () => Promise<unknown>): Promise<void> {
    let writes = 0;
    store.fault = () => (writes++ >= dieAt ? "fail-before" : "ok");
    try {
      await work();
    } catch (error) {
      // Nothing but death may stop it.
      if (writes <= dieAt) throw error;
      if (store === this.store) this.vault = await reopen(this.store);
    } finally {
      store.fault = () => "ok";
    }
  }

  /** Points that were sealed anew have new ids. */
  async #learnIds(): Promise<void> {
    const { points } = await this.vault.points({ signal });
    for (const known of this.points) known.point = points.find((one) => one.formerly?.includes(known.point.id)) ?? known.point;
  }

  async #copy(dieAt: number): Promise<void> {
    const { store } = await this.#second;
    const second = await reopen(store);
    await this.#dying(store, dieAt, () => copyPoints(this.vault, second, { signal }));
    for (const copy of (await (await reopen(store)).points({ signal })).points) {
      const original = this.points.find(({ point }) => [point.id, ...(point.formerly ?? [])].includes(copy.origin!.point));
      if (original) this.#copies.set(copy.id, original.content);
    }
  }

  #write({ offset, length, seed }: Extract<Step, { kind: "write" }>): void {
    const end = Math.min(size, offset + length);
    if (seed === 0) this.disk.fill(0, offset, end);
    else this.disk.set(noise(end - offset, seed), offset);
    for (const { changed } of this.points) changed.push({ offset, length: end - offset, kind: "data" });
  }

  async #put({ incremental, dieAt }: Extract<Step, { kind: "put" }>): Promise<void> {
    const last = this.points.at(-1);
    const base = incremental && last ? { base: last.point } : {};
    const source = new MemoryDisk(Uint8Array.from(this.disk));
    const disk = { name: "vda", source, ...(incremental && last ? { changed: merge(last.changed) } : {}) };
    let writes = 0;
    this.store.fault = () => (writes++ >= dieAt ? "fail-before" : "ok");
    try {
      const point = await this.vault.put({ name: "vm", ...base, disks: [disk] }, { signal });
      this.points.push({ point, content: Uint8Array.from(this.disk), changed: [] });
    } catch {
      this.vault = await reopen(this.store);
    } finally {
      this.store.fault = () => "ok";
    }
  }

  async check(): Promise<void> {
    const second = await reopen((await this.#second).store);
    for (const copy of (await second.points({ signal })).points) {
      const target = new MemoryDisk(size);
      await second.restore(copy, "vda", target, { signal });
      assert.ok(Buffer.from(target.content).equals(this.#copies.get(copy.id)!));
    }
    const vault = await reopen(this.store);
    const { points } = await vault.points({ signal });
    assert.deepEqual(points.map(({ id }) => id).toSorted(), this.points.map(({ point }) => point.id).toSorted());
    for (const { point, content } of this.points) {
      const target = new MemoryDisk(size);
      target.content.fill(9);
      await vault.restore(point, "vda", target, { signal });
      assert.ok(Buffer.from(target.content).equals(content));
    }
    assert.deepEqual((await vault.verify({ signal, packs: "all" })).damage, []);
  }
}

function merge(extents: readonly Extent[]): Extent[] {
  const merged: { offset: number; length: number; kind: "data" }[] = [];
  for (const { offset, length } of extents.toSorted((a, b) => a.offset - b.offset)) {
    const last = merged.at(-1);
    if (last && offset <= last.offset + last.length) last.length = Math.max(last.length, offset + length - last.offset);
    else merged.push({ offset, length, kind: "data" });
  }
  return merged;
}

test("any sequence of writes, puts, deletes, prunes, gcs, re-keys, copies, deaths and restarts gives back exactly what was put", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 18 }), async (steps) => {
      const { store, vault } = await newVault();
      const model = new Model(store, vault);
      for (const one of steps) await model.take(one);
      await model.check();
    }),
    { numRuns: 40 },
  );
});
