import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const folder = join(import.meta.dirname, "../fuzz");

for (const file of globSync("*.fuzz.ts", { cwd: folder }).sort()) {
  test(`${file}: hostile bytes are refused, and nothing else happens`, async () => {
    const target = (await import(join(folder, file))) as {
      default(options: { seconds: number; seed: number }): Promise<{ cases: number }>;
    };
    const { cases } = await target.default({ seconds: 1, seed: 1 });
    assert.ok(cases > 100);
  });
}
