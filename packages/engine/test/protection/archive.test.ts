import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Connection } from "@godwit/libvirt";
import { awaitEnd, readArchive } from "../../src/adapters/libvirt/backup/guest-files.ts";
import { FakeClock } from "../jobs/fake-clock.ts";

const mark = "GODWIT-END 0123456789abcdef";
const { signal } = new AbortController();

/** The channel of a guest that sends these pieces, and then nothing more. */
function channel(pieces: readonly Uint8Array[], ends = false): Duplex {
  const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  for (const piece of pieces) socket.push(piece);
  if (ends) socket.push(null);
  return socket;
}

describe("an archive that a guest sends", () => {
  it("is what comes before the mark, however it is torn", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), fc.array(fc.integer({ min: 1, max: 200 })), async (bytes, cuts) => {
        const all = Buffer.concat([bytes, Buffer.from(`\n${mark} 1 gnu\n`)]);
        const pieces: Uint8Array[] = [];
        for (let at = 0, turn = 0; at < all.length; turn += 1) {
          const end = at + (cuts[turn] ?? all.length);
          pieces.push(all.subarray(at, end));
          at = end;
        }
        const got: Uint8Array[] = [];
        const end = await readArchive(channel(pieces), mark, async (piece) => void got.push(Buffer.from(piece)), signal);
        assert.deepEqual(end, { code: 1, kind: "gnu" });
        assert.deepEqual(Buffer.concat(got), Buffer.from(bytes));
      }),
    );
  });

  it("that ends too early is none", async () => {
    await assert.rejects(
      readArchive(channel([Buffer.alloc(700)], true), mark, async () => undefined, signal),
      /closed before all files/,
    );
  });

  it("is given up when the guest hangs, and not while it goes on", async () => {
    const clock = new FakeClock();
    const connection = { agentCommand: async () => ({ exited: false }) } as unknown as Connection;
    const guest = { connection, dom: { name: "web", uuid: "v1", id: 1 }, clock };
    let heardAt = 0;
    let ended: unknown;
    const end = awaitEnd(guest, 7, () => heardAt, signal).catch((error: unknown) => (ended = error));
    await clock.advance(20 * 60_000);
    heardAt = clock.monotonic();
    await clock.advance(20 * 60_000);
    assert.equal(ended, undefined);
    await clock.advance(11 * 60_000);
    await end;
    assert.match(String(ended), /neither ended nor gone on for 30 minutes/);
  });
});
