import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ReplyReader } from "../src/client/reply-reader.ts";
import { type Request, Transaction } from "../src/client/transaction.ts";
import { NbdError, type ReplyMode } from "../src/index.ts";
import { CHUNK } from "../src/protocol/constants.ts";
import { pattern } from "./support/memory.ts";
import {
  chunk,
  dataPayload,
  done,
  errorPayload,
  extendedChunk,
  holePayload,
  simpleReply,
  statusPayload,
  words,
} from "./support/replies.ts";

/** A reader with requests in flight (cookies 1, 2 …) and no socket. */
class Bench {
  readonly reader: ReplyReader;
  readonly transactions: Transaction[];
  readonly released: number[] = [];

  constructor(mode: ReplyMode, ...requests: readonly Partial<Request>[]) {
    this.transactions = requests.map((request, index) => {
      const { length = 16, command = "read" } = request;
      const into = command === "read" ? { into: new Uint8Array(length) } : {};
      const transaction = new Transaction(index + 1, { command, flags: 0, offset: 100, length, ...into, ...request });
      transaction.result.promise.catch(() => undefined);
      return transaction;
    });
    const inFlight = new Map(this.transactions.map((transaction) => [transaction.cookie, transaction]));
    this.reader = new ReplyReader(mode, {
      find: (cookie) => inFlight.get(cookie),
      finished: (transaction) => void inFlight.delete(transaction.cookie),
      released: (transaction) => void this.released.push(transaction.cookie),
      closed: () => undefined,
    });
  }

  /** Feeds bytes as a socket would, at most `step` at a time. */
  feed(bytes: Uint8Array, step = Number.MAX_SAFE_INTEGER): this {
    for (let at = 0; at < bytes.length;) {
      const window = this.reader.window();
      const count = Math.min(window.length, bytes.length - at, step);
      window.set(bytes.subarray(at, at + count));
      this.reader.advance(count);
      at += count;
    }
    return this;
  }

  into(index = 0): Uint8Array {
    return this.transactions[index]!.request.into!;
  }

  result(index = 0): Promise<unknown> {
    return this.transactions[index]!.result.promise;
  }
}

const data = (offset: number, bytes: Uint8Array, last = false): Buffer =>
  chunk({ cookie: 1, type: CHUNK.data, payload: dataPayload(offset, bytes), done: last });
const hole = (offset: number, length: number, last = false): Buffer =>
  chunk({ cookie: 1, type: CHUNK.hole, payload: holePayload(offset, length), done: last });

describe("structured replies", () => {
  it("assemble from pieces and holes in any order", async () => {
    const bench = new Bench("structured", {}).feed(
      Buffer.concat([data(112, pattern(4, 1)), hole(104, 8), data(100, pattern(4, 2)), done(1)]),
    );
    await bench.result();
    assert.deepEqual(bench.into(), new Uint8Array([...pattern(4, 2), ...new Uint8Array(8), ...pattern(4, 1)]));
  });

  it("of several requests interleave", async () => {
    const bench = new Bench("structured", {}, { offset: 0 });
    const other = (offset: number, bytes: Uint8Array): Buffer =>
      chunk({ cookie: 2, type: CHUNK.data, payload: dataPayload(offset, bytes) });
    bench.feed(Buffer.concat([other(0, pattern(8, 1)), data(100, pattern(16, 2), true), other(8, pattern(8, 3)), done(2)]), 3);
    await Promise.all([bench.result(0), bench.result(1)]);
    assert.deepEqual(bench.into(1), new Uint8Array([...pattern(8, 1), ...pattern(8, 3)]));
  });

  it("report an error with its message and place, and let the next reply through", async () => {
    const payload = Buffer.concat([errorPayload(5, "bad\nsector"), words([64, 108])]);
    const bench = new Bench("structured", {}, {});
    bench.feed(Buffer.concat([data(100, pattern(8)), chunk({ cookie: 1, type: CHUNK.errorOffset, payload, done: true })]));
    await assert.rejects(
      bench.result(),
      (error) =>
        error instanceof NbdError && error.errno === "EIO" && /bad sector/.test(error.message) && error.context["failedAt"] === 108,
    );
    bench.feed(chunk({ cookie: 2, type: CHUNK.data, payload: dataPayload(100, pattern(16)), done: true }));
    await bench.result(1);
  });

  it("count an unknown error number as EINVAL, and an unknown kind of error as an error", async () => {
    const bench = new Bench("structured", {}).feed(chunk({ cookie: 1, type: 0x8abc, payload: errorPayload(4711), done: true }));
    await assert.rejects(bench.result(), { errno: "EINVAL" });
  });

  const status = (payload: Uint8Array): Buffer => chunk({ cookie: 1, type: CHUNK.blockStatus, payload, done: true });
  const statusRequest = { command: "blockStatus" } as const;
  for (const [what, request, bytes] of [
    ["a cookie that was never used", {}, done(9)],
    ["a simple reply to a read", {}, simpleReply(1, 0)],
    ["an extended reply", {}, extendedChunk({ cookie: 1, type: CHUNK.none, done: true }, 100)],
    ["garbage", {}, Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["data before the request", {}, data(99, pattern(4))],
    ["data behind the request", {}, data(113, pattern(4))],
    ["data far away", {}, data(2 ** 52, pattern(4))],
    ["overlapping data", {}, Buffer.concat([data(100, pattern(8)), data(107, pattern(4))])],
    ["a hole over data", {}, Buffer.concat([data(104, pattern(8)), hole(100, 5)])],
    ["an empty hole", {}, hole(100, 0)],
    ["a hole of four gigabytes", {}, hole(100, 0xffff_ffff)],
    ["a hole chunk of the wrong length", {}, chunk({ cookie: 1, type: CHUNK.hole, payload: words([64, 100]) })],
    ["an empty data chunk", {}, chunk({ cookie: 1, type: CHUNK.data, payload: words([64, 100]) })],
    ["too little data", {}, data(100, pattern(8), true)],
    ["an end that is not the last", {}, chunk({ cookie: 1, type: CHUNK.none })],
    ["an end with a payload", {}, chunk({ cookie: 1, type: CHUNK.none, done: true, payload: pattern(3) })],
    ["an unknown chunk", {}, chunk({ cookie: 1, type: 77, done: true })],
    ["an error chunk of gigabytes", {}, chunk({ cookie: 1, type: CHUNK.error, length: 0x7fff_ffff })],
    ["an error whose message is longer than it", {}, chunk({ cookie: 1, type: CHUNK.error, payload: words([32, 5], [16, 9]) })],
    ["an error of number 0", {}, chunk({ cookie: 1, type: CHUNK.error, payload: errorPayload(0) })],
    ["a block status for a read", {}, status(statusPayload(0, [512, 0]))],
    ["a data chunk for a block status", statusRequest, data(100, pattern(4))],
    ["a block status without extents", statusRequest, status(statusPayload(0))],
    ["a block status of a broken length", statusRequest, status(pattern(9))],
    [
      "a block status of gigabytes",
      statusRequest,
      Buffer.concat([chunk({ cookie: 1, type: CHUNK.blockStatus, length: 0xffff_fff4 }), words([32, 0])]),
    ],
    [
      "two block statuses of one context",
      statusRequest,
      Buffer.concat([1, 2].map(() => chunk({ cookie: 1, type: CHUNK.blockStatus, payload: statusPayload(0, [512, 0]) }))),
    ],
    ["a block status that is empty", statusRequest, done(1)],
    ["success without block status", statusRequest, simpleReply(1, 0)],
  ] as const) {
    it(`are refused when they are ${what}`, () => {
      const bench = new Bench("structured", request);
      assert.throws(
        () => bench.feed(bytes),
        (error) => error instanceof NbdError && error.kind === "protocol" && error.reason === "malformed",
      );
    });
  }

  it("are refused when shredded into thousands of scattered bytes", () => {
    const bench = new Bench("structured", { length: 1 << 20, offset: 0 });
    const shreds = Array.from({ length: 5000 }, (_, index) => data(index * 2, pattern(1)));
    assert.throws(() => bench.feed(Buffer.concat(shreds)), /scattered/);
  });
});

describe("simple replies", () => {
  it("carry data only on success", async () => {
    const bench = new Bench("simple", {}, {}).feed(Buffer.concat([simpleReply(2, 28), simpleReply(1, 0, pattern(16))]), 5);
    await assert.rejects(bench.result(1), { errno: "ENOSPC" });
    await bench.result(0);
    assert.deepEqual(bench.into(0), pattern(16));
  });

  it("are all there may be", () => {
    assert.throws(() => new Bench("simple", {}).feed(done(1)), { reason: "malformed" });
  });
});

describe("extended replies", () => {
  it("must repeat the request's offset", async () => {
    const good = new Bench("extended", {}).feed(
      extendedChunk({ cookie: 1, type: CHUNK.data, payload: dataPayload(100, pattern(16)), done: true }, 100),
    );
    await good.result();
    assert.throws(() => new Bench("extended", {}).feed(extendedChunk({ cookie: 1, type: CHUNK.none, done: true }, 101)), /another offset/);
  });

  it("count their extents", async () => {
    const extent = [[64, 2 ** 40] as const, [64, 3] as const];
    const payload = (count: number): Buffer => words([32, 7], [32, count], ...extent);
    const shape = (count: number): Buffer =>
      extendedChunk({ cookie: 1, type: CHUNK.blockStatusExt, payload: payload(count), done: true }, 100);
    const good = new Bench("extended", { command: "blockStatus", length: 2 ** 41 }).feed(shape(1));
    assert.deepEqual([...((await good.result()) as Map<number, Uint8Array>).keys()], [7]);
    assert.throws(() => new Bench("extended", { command: "blockStatus" }).feed(shape(2)), /miscounts/);
  });
});

describe("abandoned reads", () => {
  it("are consumed without another byte in their buffer, wherever they are given up", async () => {
    const bytes = Buffer.concat([
      data(100, pattern(8)),
      data(108, pattern(8), true),
      chunk({ cookie: 2, type: CHUNK.data, payload: dataPayload(100, pattern(16, 7)), done: true }),
    ]);
    for (let at = 0; at <= bytes.length; at += 1) {
      const bench = new Bench("structured", {}, {}).feed(bytes.subarray(0, at));
      bench.transactions[0]!.abandoned = true;
      const before = bench.into(0).slice();
      bench.feed(bytes.subarray(at));
      assert.deepEqual(bench.into(0), before);
      await bench.result(1);
      assert.deepEqual(bench.into(1), pattern(16, 7));
    }
  });

  it("are released once the socket's window has left their buffer", () => {
    const length = 64 << 10;
    const bytes = chunk({ cookie: 1, type: CHUNK.data, payload: dataPayload(0, pattern(length)), done: true });
    const bench = new Bench("structured", { offset: 0, length }).feed(bytes.subarray(0, 30_000));
    bench.reader.window();
    assert.equal(bench.reader.pinned, bench.transactions[0]);
    assert.deepEqual(bench.released, []);
    bench.feed(bytes.subarray(30_000));
    bench.reader.window();
    assert.deepEqual([bench.reader.pinned, bench.released], [undefined, [1]]);
  });
});

describe("replies of any cut", () => {
  it("give the same result however the bytes arrive and the chunks are ordered", async () => {
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 4095 }), { maxLength: 12 });
    const shuffle = fc.integer({ min: 1, max: 1000 });
    await fc.assert(
      fc.asyncProperty(
        cuts,
        fc.array(fc.boolean(), { minLength: 13, maxLength: 13 }),
        shuffle,
        fc.integer({ min: 1, max: 700 }),
        async (cuts, zero, seed, step) => {
          const edges = [0, ...cuts.toSorted((a, b) => a - b), 4096];
          const expected = pattern(4096, seed);
          const chunks = edges.slice(1).map((end, index) => {
            const start = edges[index]!;
            if (zero[index]) expected.fill(0, start, end);
            return zero[index] ? hole(100 + start, end - start) : data(100 + start, expected.slice(start, end));
          });
          const order = chunks.map((bytes, index) => ({ bytes, key: (index * seed * 7919) % 1013 })).toSorted((a, b) => a.key - b.key);
          const bench = new Bench("structured", { length: 4096 }).feed(Buffer.concat([...order.map(({ bytes }) => bytes), done(1)]), step);
          await bench.result();
          assert.ok(Buffer.compare(bench.into(), expected) === 0);
        },
      ),
      { numRuns: 200 },
    );
  });
});
