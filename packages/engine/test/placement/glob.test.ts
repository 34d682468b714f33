import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compileGlob, matchesGlob } from "../../src/placement/glob.ts";

describe("a name pattern", () => {
  it("matches as the same pattern written as a regular expression does", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", ".", "*", "?"), maxLength: 8 });
    fc.assert(
      fc.property(letters, letters, (text, pattern) => {
        const source = pattern
          .replaceAll(".", String.raw`\.`)
          .replaceAll("*", ".*")
          .replaceAll("?", ".");
        const expected = new RegExp(`^${source}$`).test(text);
        assert.equal(matchesGlob(text, pattern), expected);
        assert.equal(compileGlob(pattern)(text), expected);
      }),
      { numRuns: 2000 },
    );
  });

  it("costs little, however many stars it has", () => {
    assert.equal(matchesGlob("a".repeat(20_000), `${"*a".repeat(100)}*b`), false);
  });
});
