import assert from "node:assert/strict";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { openOverlay } from "../src/index.ts";
import { MemoryDisk } from "./support/memory.ts";

const signal = new AbortController().signal;

it("an overlay of which something could not be stored never says again that it is", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "godwit-overlay-"));
  const path = join(folder, "overlay");
  const base = new MemoryDisk(1 << 20);
  const overlay = await openOverlay(base, path);
  await using some = await open(path, "r");
  // As a system does it: the error is told once, and what was not stored counts as stored.
  const files = Object.getPrototypeOf(some) as { datasync: () => Promise<void> };
  const datasync = t.mock.method(files, "datasync", () => Promise.reject(Object.assign(new Error("full"), { code: "ENOSPC" })), {
    times: 1,
  });
  await overlay.write(0, new Uint8Array(4096).fill(1), { signal });
  await assert.rejects(overlay.flush({ signal }), { kind: "io" });
  await assert.rejects(overlay.flush({ signal }), { kind: "io" });
  await assert.rejects(async () => await overlay[Symbol.asyncDispose]());
  datasync.mock.restore();
  // Its map does not point to what may not be there.
  await using again = await openOverlay(base, path);
  const extents = await Array.fromAsync(again.extents({ signal }));
  assert.deepEqual(extents, [{ offset: 0, length: 1 << 20, kind: "zero" }]);
  await rm(folder, { recursive: true });
});
