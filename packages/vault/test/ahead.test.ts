import assert from "node:assert/strict";
import { test } from "node:test";
import { ahead } from "../src/ops/ahead.ts";

async function* counting(to: number, pulled: number[] = []): AsyncGenerator<number> {
  for (let i = 0; i < to; i += 1) {
    pulled.push(i);
    yield i;
  }
}

test("what is prepared ahead comes in order, and no more than that is under way", async () => {
  let running = 0;
  let most = 0;
  const prepare = async (i: number): Promise<number> => {
    running += 1;
    most = Math.max(most, running);
    for (let turns = (i * 7) % 5; turns >= 0; turns -= 1) await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    return i * 2;
  };
  const got = await Array.fromAsync(ahead(counting(50), 6, prepare));
  assert.deepEqual(
    got,
    Array.from({ length: 50 }, (_, i) => i * 2),
  );
  assert.equal(most, 6);
});

test("an error comes in its item's place, after everything before it", async () => {
  const got: number[] = [];
  const prepare = (i: number): Promise<number> => (i === 4 ? Promise.reject(new Error("four")) : Promise.resolve(i));
  const taking = (async () => {
    for await (const i of ahead(counting(10), 3, prepare)) got.push(i);
  })();
  await assert.rejects(taking, { message: "four" });
  assert.deepEqual(got, [0, 1, 2, 3]);
});

test("an error of the source comes after what it gave before", async () => {
  async function* failing(): AsyncGenerator<number> {
    yield 1;
    yield 2;
    throw new Error("source");
  }
  const got: number[] = [];
  const taking = (async () => {
    for await (const i of ahead(failing(), 8, (i) => Promise.resolve(i))) got.push(i);
  })();
  await assert.rejects(taking, { message: "source" });
  assert.deepEqual(got, [1, 2]);
});

test("who leaves early waits for what is under way, and the source ends", async () => {
  const pulled: number[] = [];
  let finished = 0;
  const prepare = async (i: number): Promise<number> => {
    await new Promise((resolve) => setImmediate(resolve));
    finished += 1;
    return i;
  };
  for await (const i of ahead(counting(100, pulled), 4, prepare)) if (i === 2) break;
  assert.equal(finished, pulled.length);
  assert.ok(pulled.length <= 7);
});
