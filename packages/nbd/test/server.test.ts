import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { BlockSource, Extent } from "@godwit/core";
import { openNbdSource, serveNbd } from "../src/index.ts";
import { MemoryDisk } from "./support/memory.ts";

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

  it("ends, and forgets the client, when one leaves in the middle of a write that is refused", { timeout: 20_000 }, async () => {
    const path = join(directory, "refused");
    const disk = new MemoryDisk(1 << 20);
    const server = await serveNbd({ exports: [{ name: "", source: disk }], listen: { path }, limits: { graceMs: 200 } });
    const socket = connect(path);
    // Flags, and the default export by EXPORT_NAME; then the header of a write, and a part of what it says would follow.
    const hello = Buffer.from("0000000349484156454f50540000000100000000", "hex");
    const write = Buffer.from("25609513000000010000000000000001000000000000000000010000", "hex");
    socket.write(Buffer.concat([hello, write, Buffer.alloc(100)]));
    const greeted = Promise.withResolvers<void>();
    let got = 0;
    socket.on("data", (chunk: Uint8Array) => (got += chunk.length) >= 28 && greeted.resolve());
    await greeted.promise;
    socket.destroy();
    await server.close();
    assert.equal(server.clients, 0);
  });
});
