import assert from "node:assert/strict";
import { test } from "node:test";
import frame from "../fuzz/frame.fuzz.ts";
import xdr from "../fuzz/xdr.fuzz.ts";

for (const [name, fuzz] of Object.entries({ frame, xdr })) {
  test(`fuzz ${name}: two seconds without a finding`, async () => {
    const { cases } = await fuzz({ seconds: 2, seed: 20_261 });
    assert.ok(cases > 0);
  });
}
