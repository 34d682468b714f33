import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ContentDigest } from "../../src/migration/content-digest.ts";

type Piece = { readonly kind: "data"; readonly bytes: Uint8Array } | { readonly kind: "hole"; readonly length: number };

const piece: fc.Arbitrary<Piece> = fc.oneof(
  fc.record({ kind: fc.constant("data" as const), bytes: fc.uint8Array({ maxLength: 300 }) }),
  fc.record({ kind: fc.constant("data" as const), bytes: fc.constantFrom(new Uint8Array(70_000), new Uint8Array(65_536).fill(7)) }),
  fc.record({ kind: fc.constant("hole" as const), length: fc.constantFrom(0, 1, 100, 65_535, 65_536, 200_000) }),
);

function digest(pieces: readonly Piece[]): { digest: string; length: number } {
  const made = new ContentDigest();
  for (const one of pieces) {
    if (one.kind === "data") made.data(one.bytes);
    else made.hole(one.length);
  }
  return { length: made.length, digest: made.end() };
}

const plain = (pieces: readonly Piece[]): Buffer =>
  Buffer.concat(pieces.map((one) => (one.kind === "data" ? Buffer.from(one.bytes) : Buffer.alloc(one.length))));

test("is the same for the same content, however it is cut into data and holes", () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const whole = plain(pieces);
      assert.deepEqual(digest(pieces), digest([{ kind: "data", bytes: whole }]));
      assert.equal(digest(pieces).length, whole.length);
    }),
    { numRuns: 60 },
  );
});

test("is another one for another byte, another place of the same bytes, and another length", () => {
  const grain = new Uint8Array(65_536).fill(1);
  const of = (...pieces: readonly Piece[]): string => digest(pieces).digest;
  const data: Piece = { kind: "data", bytes: grain };
  const hole: Piece = { kind: "hole", length: 65_536 };
  const all = [of(), of(hole), of(data), of(data, hole), of(hole, data), of(data, data), of({ kind: "data", bytes: grain.with(9, 2) })];
  assert.equal(new Set(all).size, all.length);
});
