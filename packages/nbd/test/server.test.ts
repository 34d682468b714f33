import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { BlockSource, Extent } from "@godwit/core";
import { openNbdSource, serveNbd } from "../src/index.ts";

const signal = new AbortController().signal;
let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "godwit-nbd-server-"));
});
after(async () => rm(directory, { recursive: true }));

/** A disk of which only the map is of interest. */
function mapped(extents: readonly Extent[]): BlockSource {
  return {
    size: extents.reduce((sum, { length }) => sum + length, 0),
    async *extents() {
      yield* extents;
    },
    read: async (_, into) => void into.fill(0),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

describe("the server", () => {
  for (const replies of ["structured", "extended"] as const) {
    it(`tells extents of more than 4 GiB where they are (${replies} replies)`, async () => {
      const GiB = 2 ** 30;
      const extents: Extent[] = [
        { offset: 0, length: 10 * GiB, kind: "zero" },
        { offset: 10 * GiB, length: GiB, kind: "data" },
        { offset: 11 * GiB, length: 9 * GiB, kind: "zero" },
      ];
      const path = join(directory, replies);
      await using _server = await serveNbd({ exports: [{ name: "x", source: mapped(extents) }], listen: { path } });
      await using source = await openNbdSource(`nbd+unix:///x?socket=${path}`, { replies });
      assert.deepEqual(await Array.fromAsync(source.extents({ signal })), extents);
    });
  }
});
