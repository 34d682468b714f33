import assert from "node:assert/strict";
import { test } from "node:test";
import { NbdError, type NbdSource } from "@godwit/nbd";
import { UpgradingSource } from "../../../src/adapters/libvirt/backup/upgrade.ts";

const { signal } = new AbortController();
const mib = new Uint8Array(1 << 20);

interface Way extends NbdSource {
  reads: number;
  broken: boolean;
  closed: boolean;
}

function way(): Way {
  return {
    client: {} as NbdSource["client"],
    size: 1 << 30,
    reads: 0,
    broken: false,
    closed: false,
    async *extents() {},
    async *changes() {},
    async read() {
      if (this.broken) throw new NbdError("io", "gone", { reason: "closed" });
      this.reads += 1;
    },
    async [Symbol.asyncDispose]() {
      this.closed = true;
    },
  };
}

async function read(source: NbdSource, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) await source.read(n << 20, mib, { signal });
}

test("little is read the first way alone", async () => {
  const first = way();
  await using source = new UpgradingSource(first, () => assert.fail("a login for nothing"));
  await read(source, 8);
  assert.equal(first.reads, 8);
});

test("much goes the better way as soon as it is there, and the first again when that ends", async () => {
  const [first, better] = [way(), way()];
  {
    await using source = new UpgradingSource(first, async () => better);
    await read(source, 20);
    assert.ok(better.reads >= 10, `${better.reads} of 20`);
    better.broken = true;
    const before = first.reads;
    await read(source, 3);
    assert.equal(first.reads, before + 3);
  }
  assert.ok(first.closed && better.closed);
});

test("without a better way all is read all the same", async () => {
  const first = way();
  await using source = new UpgradingSource(first, () => Promise.reject(new Error("no ssh here")));
  await read(source, 20);
  assert.equal(first.reads, 20);
});
