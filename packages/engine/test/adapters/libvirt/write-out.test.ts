import assert from "node:assert/strict";
import { test } from "node:test";
import type { BlockSink } from "@godwit/core";
import { writingOut } from "../../../src/adapters/libvirt/backup/write-out.ts";

const { signal } = new AbortController();
const mib = new Uint8Array(1 << 20);

function target(failing = false): BlockSink & { flushes: number } {
  return {
    size: 1 << 30,
    flushes: 0,
    write: async () => undefined,
    writeZeroes: async () => undefined,
    async flush() {
      this.flushes += 1;
      if (failing && this.flushes === 1) throw new Error("the disk is broken");
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function write(sink: BlockSink, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) await sink.write(n << 20, mib, { signal });
}

test("an image is written out while it comes, and a small one only at its end", async () => {
  const large = target();
  await write(writingOut(large), 200);
  assert.equal(large.flushes, 3);
  const small = target();
  const sink = writingOut(small);
  await write(sink, 20);
  assert.equal(small.flushes, 0);
  await sink.flush({ signal });
  assert.equal(small.flushes, 1);
});

test("what could not be written out in between fails the last flush", async () => {
  const sink = writingOut(target(true));
  await write(sink, 70);
  await assert.rejects(sink.flush({ signal }), /the disk is broken/);
});
