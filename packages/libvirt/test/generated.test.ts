import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseDescription } from "../scripts/description.ts";
import { generate, generatedDirectory } from "../scripts/generate.ts";
import { programs } from "./arbitraries.ts";

test("the generated code is what the descriptions give", () => {
  const files = generate();
  assert.deepEqual(readdirSync(generatedDirectory).toSorted(), [...files.keys()].toSorted());
  for (const [name, text] of files) {
    assert.ok(
      readFileSync(join(generatedDirectory, name), "utf8") === text,
      `${name} is out of date: run packages/libvirt/scripts/generate.ts`,
    );
  }
});

test("each program has every procedure from 1 to its last, each once, those without a stub included", () => {
  for (const program of programs) {
    const numbers = [...program.calls, ...program.skipped, ...program.events].map(({ number }) => number).toSorted((a, b) => a - b);
    assert.deepEqual(
      numbers,
      numbers.map((_, index) => index + 1),
    );
  }
});

test("a line that is no declaration, and an unknown limit, are named", () => {
  assert.throws(() => parseDescription("program p 0x1 version 1\nstruct ("), /line 2 is not a declaration: struct \(/);
  assert.throws(() => parseDescription("struct S (a: i32[<=many])"), /unknown limit "many"/);
});
