import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  BoundedQueue,
  CancelledError,
  GodwitError,
  Semaphore,
  canonicalJson,
  describeError,
  raceAbort,
  withDeadline,
} from "../src/index.ts";

describe("describeError", () => {
  it("prints the whole chain once, outermost first", () => {
    const error = new GodwitError(
      "refused",
      "cannot add host a",
      {},
      { cause: new Error("no route", { cause: new Error("ENETUNREACH") }) },
    );
    assert.equal(describeError(error), "cannot add host a: no route: ENETUNREACH");
  });

  it("prints both halves of a SuppressedError", () => {
    const both = new SuppressedError(new Error("cleanup broke"), new Error("work broke"));
    assert.equal(describeError(both), "cleanup broke (and while cleaning up: work broke)");
  });
});

describe("BoundedQueue", () => {
  it("hands items over in order and says where and how many were dropped", async () => {
    const queue = new BoundedQueue<number>(2);
    for (const n of [1, 2, 3, 4]) queue.push(n);
    queue.end();
    assert.deepEqual(await Array.fromAsync(queue), [
      { kind: "item", item: 1 },
      { kind: "item", item: 2 },
      { kind: "overflow", dropped: 2 },
    ]);
  });

  it("throws its failure after what came before it", async () => {
    const queue = new BoundedQueue<number>(2);
    queue.push(1);
    queue.fail(new Error("gone"));
    const seen: unknown[] = [];
    await assert.rejects(async () => {
      for await (const entry of queue) seen.push(entry);
    }, /gone/);
    assert.equal(seen.length, 1);
  });

  it("takes no more once its consumer has left", async () => {
    const queue = new BoundedQueue<number>(2);
    queue.push(1);
    for await (const _ of queue) break;
    assert.equal(queue.push(2), false);
  });
});

describe("Semaphore", () => {
  it("admits in order up to its limit, and an abandoned wait takes no place", async () => {
    const semaphore = new Semaphore(1);
    const first = await semaphore.acquire();
    const abort = new AbortController();
    const abandoned = semaphore.acquire({ signal: abort.signal });
    const third = semaphore.acquire();
    abort.abort(new CancelledError());
    await assert.rejects(abandoned, CancelledError);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    (await third)[Symbol.dispose]();
    assert.equal(semaphore.held, 0);
  });

  it("admits more when its limit is raised", async () => {
    const semaphore = new Semaphore(0);
    const waiting = semaphore.acquire();
    semaphore.limit = 1;
    (await waiting)[Symbol.dispose]();
  });
});

describe("deadlines", () => {
  it("withDeadline rejects with the given error when time is up", async () => {
    await assert.rejects(
      withDeadline(
        5,
        () => new GodwitError("timeout", "too slow"),
        undefined,
        (signal) => raceAbort(new Promise(() => undefined), signal),
      ),
      { kind: "timeout" },
    );
  });
});

describe("canonicalJson", () => {
  it("gives equal texts for equal values", () => {
    assert.equal(canonicalJson({ b: 1, a: { d: [2], c: undefined } }), canonicalJson({ a: { d: [2] }, b: 1 }));
  });
});
