import assert from "node:assert/strict";
import { test } from "node:test";
import { StoreError, Vault, VaultError } from "@godwit/vault";
import fc from "fast-check";
import { contentOf, contentSize as size, MemoryDisk, newVault, reopen, secret, signal, tuning } from "./support/disks.ts";
import { deadMachine, Interleaver } from "./support/interleave.ts";
import type { MemoryStore } from "./support/memory-store.ts";

const day = 24 * 3600 * 1000;

/** What a machine does, one thing after the other. `die` is the number of writes it lives for. */
interface Machine {
  readonly tasks: readonly Task[];
  readonly die: number;
}

type Task =
  | { readonly kind: "put"; readonly vm: string; readonly content: number; readonly incremental: boolean }
  | { readonly kind: "delete"; readonly vm: string; readonly which: number }
  | { readonly kind: "gc"; readonly share: number }
  /** The storage's clock goes on by some days. */
  | { readonly kind: "jump" };

const vm = fc.constantFrom("a", "b");
const task: fc.Arbitrary<Task> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("put" as const), vm, content: fc.nat(3), incremental: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("delete" as const), vm, which: fc.nat(3) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("gc" as const), share: fc.constantFrom(0, 0.3, 0.9) }) },
  { weight: 1, arbitrary: fc.constant({ kind: "jump" as const }) },
);
const machine: fc.Arbitrary<Machine> = fc.record({
  tasks: fc.array(task, { minLength: 1, maxLength: 4 }),
  die: fc.oneof({ weight: 3, arbitrary: fc.constant(Infinity) }, { weight: 1, arbitrary: fc.nat(30) }),
});

/** Whatever the order of reads and writes of the machines, what is listed in the end comes back whole. */
async function check(machines: readonly Machine[], seed: number): Promise<void> {
  const { store, vault } = await newVault();
  for (const name of ["a", "b"]) for (const number of [0, 1]) await putContent(vault, { vm: name, content: number, incremental: true });
  const interleaver = new Interleaver(store, schedule(seed));
  let now = 0;
  store.now = () => now;
  const works = machines.map((machine) => async (): Promise<void> => {
    const actor = interleaver.actor();
    const opened = await Vault.open(actor, secret, { signal, tuning });
    actor.diesAfter = machine.die;
    for (const task of machine.tasks) {
      if (task.kind === "jump") now += 5 * day;
      else await perform(opened, task).catch(expectReason);
    }
  });
  await interleaver.run(works);
  assert.deepEqual(unexpected.splice(0), []);
  await expectWhole(store);
  // And whoever comes after the dead cleans up, and loses nothing either.
  const after = await reopen(store);
  for (let i = 0; i < 3; i += 1) {
    now += 5 * day;
    await after.gc({ signal, maxDeadShare: 0.2 });
  }
  await expectWhole(store);
  const left = [...store.objects.keys()].filter((name) => /^(?:mark|wait|doom|session)\//.test(name));
  assert.deepEqual(left, []);
}

/** A machine may find itself dead or given up, and nothing else. */
function expectReason(error: unknown): void {
  if (error instanceof StoreError && error.message === deadMachine) return;
  if (error instanceof VaultError && error.kind === "given-up") return;
  unexpected.push(error);
}

const unexpected: unknown[] = [];

async function putContent(
  vault: Vault,
  { vm, content, incremental }: Pick<Extract<Task, { kind: "put" }>, "vm" | "content" | "incremental">,
) {
  const { points } = await vault.points({ name: vm, signal });
  const base = points.at(-1);
  const source = new MemoryDisk(contentOf(content));
  // A list of changes that is right: everything may have changed but the last bytes, which never do.
  const changed = incremental && base ? { changed: [{ offset: 0, length: size - 100, kind: "data" as const }] } : {};
  await vault.put(
    { name: vm, ...(base ? { base } : {}), reasons: [`content ${content}`], disks: [{ name: "vda", source, ...changed }] },
    { signal },
  );
}

async function perform(vault: Vault, task: Exclude<Task, { kind: "jump" }>): Promise<void> {
  switch (task.kind) {
    case "put":
      return await putContent(vault, task);
    case "delete": {
      const { points } = await vault.points({ name: task.vm, signal });
      const gone = points[task.which % Math.max(1, points.length)];
      if (gone) await vault.deletePoint(gone.id, { signal });
      return;
    }
    case "gc":
      await vault.gc({ signal, maxDeadShare: task.share });
  }
}

async function expectWhole(store: MemoryStore): Promise<void> {
  const vault = await reopen(store);
  const { points, damaged } = await vault.points({ signal });
  assert.deepEqual(damaged, []);
  for (const point of points) {
    const number = Number(/content (\d)/.exec(point.reasons.join())![1]);
    const target = new MemoryDisk(size);
    target.content.fill(9);
    await vault.restore(point, "vda", target, { signal });
    assert.ok(Buffer.from(target.content).equals(contentOf(number)), `content ${number} of ${point.name}`);
  }
  assert.deepEqual((await vault.verify({ signal, packs: "all" })).damage, []);
}

/**
 * A schedule: one machine goes on for a stretch, then another, and now and then one is put to sleep for long,
 * as a paused or swapped-out process is.
 */
function schedule(seed: number): (waiting: readonly number[]) => number {
  let state = (seed + 1) >>> 0;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % below;
  };
  let [current, stay, asleep, sleep] = [0, 0, -1, 0];
  return (waiting) => {
    if (sleep-- <= 0) [asleep, sleep] = [random(3) === 0 ? -1 : waiting[random(waiting.length)]!, random(200)];
    const awake = waiting.some((actor) => actor !== asleep) ? waiting.filter((actor) => actor !== asleep) : waiting;
    if (stay-- <= 0 || !awake.includes(current)) [current, stay] = [awake[random(awake.length)]!, random(12)];
    const mine = waiting.flatMap((actor, i) => (actor === current ? [i] : []));
    return mine[random(mine.length)]!;
  };
}

/** For a campaign; the test needs no more than to notice what breaks. */
const campaign = process.env["GODWIT_INTERLEAVINGS"];

test("puts, deletions and several gcs on machines that die, sleep and have clocks that jump: whatever is listed comes back whole", async () => {
  await fc.assert(fc.asyncProperty(fc.array(machine, { minLength: 2, maxLength: 4 }), fc.nat(), check), {
    numRuns: Number(campaign ?? 15),
    // A slow machine tries fewer.
    ...(campaign === undefined ? { interruptAfterTimeLimit: 30_000, markInterruptAsFailure: false } : {}),
  });
});
