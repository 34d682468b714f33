import assert from "node:assert/strict";
import { test } from "node:test";
import { describeError } from "@godwit/core";
import { LibvirtError } from "@godwit/libvirt";
import { engineError } from "../../../src/adapters/libvirt/errors.ts";

const busy = "Timed out during operation: cannot acquire state change lock (held by monitor=init-web)";

test("a daemon that stays busy with a VM is named with the way out", () => {
  const remote = { code: 68, domain: 10, level: 2 } as LibvirtError["remote"];
  const error = engineError(new LibvirtError("libvirt", busy, {}, { remote: remote! }), "alpha: starting VM web");
  assert.match(
    describeError(error),
    /^alpha: starting VM web failed: .* busy .*restart libvirtd there: guests run on.*held by monitor=init-web/,
  );
});
