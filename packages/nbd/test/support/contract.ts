import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BlockError, type BlockSink, type BlockSource, CancelledError } from "@godwit/core";
import { pattern } from "./memory.ts";

const KiB = 1 << 10;
const idle = (): AbortSignal => new AbortController().signal;

/** A source of mixed data and zeros, large enough for several blocks of anybody. */
export function mixedContent(length = 1024 * KiB): Uint8Array {
  const content = pattern(length, 11);
  content.fill(0, 128 * KiB, 384 * KiB);
  content.fill(0, length - 64 * KiB);
  return content;
}

/** What every {@link BlockSource} promises. */
export function blockSourceContract(name: string, open: (content: Uint8Array) => Promise<BlockSource>): void {
  describe(`${name} is a block source`, () => {
    it("whose extents are ordered, gap-free, never empty, end at its size, and are true", async () => {
      const content = mixedContent();
      await using source = await open(content);
      assert.equal(source.size, content.length);
      let at = 0;
      for await (const { offset, length, kind } of source.extents({ signal: idle() })) {
        assert.equal(offset, at);
        assert.ok(length > 0);
        if (kind === "zero") assert.ok(content.subarray(offset, offset + length).every((byte) => byte === 0));
        at += length;
      }
      assert.equal(at, content.length);
    });

    it("whose reads fill all of the buffer, at any offset, at the same time", async () => {
      const content = mixedContent();
      await using source = await open(content);
      await Promise.all(
        [0, 1, 4095, 130 * KiB - 7, 384 * KiB - 1, content.length - 100_003].map(async (offset) => {
          const into = new Uint8Array(100_003).fill(0xcc);
          await source.read(offset, into, { signal: idle() });
          assert.ok(Buffer.compare(into, content.subarray(offset, offset + into.length)) === 0, `at ${offset}`);
        }),
      );
    });

    it("whose reads past the end are out-of-range and read nothing", async () => {
      await using source = await open(mixedContent());
      for (const offset of [source.size - 5, source.size, source.size + 4096, -1]) {
        const into = new Uint8Array(16).fill(7);
        await assert.rejects(
          source.read(offset, into, { signal: idle() }),
          (error) => error instanceof BlockError && error.kind === "out-of-range",
        );
        assert.deepEqual(into, new Uint8Array(16).fill(7));
      }
    });

    it("that reads nothing as nothing, and is empty when its content is", async () => {
      await using source = await open(mixedContent());
      await source.read(source.size, new Uint8Array(), { signal: idle() });
      await using empty = await open(new Uint8Array());
      assert.deepEqual([empty.size, await Array.fromAsync(empty.extents({ signal: idle() }))], [0, []]);
    });

    it("that rejects with the signal's reason once it fired", async () => {
      await using source = await open(mixedContent());
      const reason = new CancelledError("enough");
      const signal = AbortSignal.abort(reason);
      await assert.rejects(source.read(0, new Uint8Array(16), { signal }), (error) => error === reason);
      await assert.rejects(Array.fromAsync(source.extents({ signal })), (error) => error === reason);
      await source.read(0, new Uint8Array(16), { signal: idle() });
    });
  });
}

/** What every {@link BlockSink} promises; `open` gives it over `content`, and `peek` what it then reads as. */
export function blockSinkContract(
  name: string,
  open: (content: Uint8Array) => Promise<{ sink: BlockSink; peek(): Promise<Uint8Array> }>,
): void {
  describe(`${name} is a block sink`, () => {
    it("that keeps what is written and zeroed, at any offset, and leaves the rest as it was", async () => {
      const model = mixedContent();
      const { sink, peek } = await open(model.slice());
      await using _sink = sink;
      await Promise.all(
        [1, 65_536, 200_000, 999_999].map(async (offset) => {
          const data = pattern(33_333, offset);
          model.set(data, offset);
          await sink.write(offset, data, { signal: idle() });
        }),
      );
      model.fill(0, 300_001, 600_000);
      await sink.writeZeroes(300_001, 299_999, { signal: idle() });
      model.set(pattern(10, 3), 400_000);
      await sink.write(400_000, pattern(10, 3), { signal: idle() });
      await sink.flush({ signal: idle() });
      assert.ok(Buffer.compare(await peek(), model) === 0);
    });

    it("that refuses what lies outside and what comes after the signal fired", async () => {
      const { sink, peek } = await open(mixedContent());
      await using _sink = sink;
      for (const run of [
        sink.write(sink.size - 1, new Uint8Array(2), { signal: idle() }),
        sink.writeZeroes(sink.size, 1, { signal: idle() }),
      ]) {
        await assert.rejects(run, (error) => error instanceof BlockError && error.kind === "out-of-range");
      }
      const reason = new CancelledError();
      await assert.rejects(sink.write(0, pattern(16), { signal: AbortSignal.abort(reason) }), (error) => error === reason);
      assert.ok(Buffer.compare(await peek(), mixedContent()) === 0);
    });
  });
}
