import assert from "node:assert/strict";
import { test } from "node:test";
import type { Extent } from "@godwit/core";
import type { Point, Vault } from "@godwit/vault";
import fc from "fast-check";
import { MemoryDisk, newVault, noise, reopen, signal } from "./support/disks.ts";
import type { MemoryStore } from "./support/memory-store.ts";

const size = 200_000;

type Step =
  | { readonly kind: "write"; readonly offset: number; readonly length: number; readonly seed: number }
  | { readonly kind: "put"; readonly incremental: boolean; readonly dieAt: number }
  | { readonly kind: "delete"; readonly which: number }
  | { readonly kind: "reopen" };

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
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reopen" as const) }) },
);

/** A disk that is written to, and a vault that must give back what it was given. */
class Model {
  readonly store: MemoryStore;
  vault: Vault;
  readonly disk = new Uint8Array(size);
  /** With what was written since each of them: any may be the base, as any may be deleted. */
  readonly points: { point: Point; content: Uint8Array; changed: Extent[] }[] = [];

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
      case "reopen":
        this.vault = await reopen(this.store);
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

test("any sequence of writes, puts, deletes, deaths and restarts gives back exactly what was put", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 14 }), async (steps) => {
      const { store, vault } = await newVault();
      const model = new Model(store, vault);
      for (const one of steps) await model.take(one);
      await model.check();
    }),
    { numRuns: 40 },
  );
});
