import assert from "node:assert/strict";
import { test } from "node:test";
import { capturesAtOnce } from "../../src/index.ts";

const gib = 2 ** 30;

test("a server runs as many captures at once as its machine bears, and never fewer than two", () => {
  assert.equal(capturesAtOnce({ cores: 2, memoryBytes: 24 * gib }), 4);
  assert.equal(capturesAtOnce({ cores: 8, memoryBytes: 3.9 * gib }), 3);
  assert.equal(capturesAtOnce({ cores: 64, memoryBytes: 512 * gib }), 8);
  assert.equal(capturesAtOnce({ cores: 1, memoryBytes: gib }), 2);
});
