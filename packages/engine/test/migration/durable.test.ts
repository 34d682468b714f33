import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../src/index.ts";
import { makeDurable } from "../../src/migration/durable.ts";
import type { HostShell } from "../../src/ports/shell.ts";

describe("putting a file on stable storage", () => {
  const { signal } = new AbortController();
  let now = 0;
  const clock = { now: () => now, monotonic: () => now, sleep: () => Promise.resolve() };

  /** Says one thing after the other; each takes as long as a command may. */
  const file = (...says: readonly (number | Error)[]): Parameters<typeof makeDurable>[0] & { readonly left: unknown[] } => {
    const left = [...says];
    const run: HostShell["run"] = async () => {
      now += 20_000;
      const next = left.length > 1 ? left.shift()! : left[0]!;
      if (next instanceof Error) throw next;
      return { code: next, stdout: "", stderr: next === 0 ? "" : "sync: error syncing: Input/output error" };
    };
    return { path: "/b/web.qcow2", left, shell: { run, [Symbol.asyncDispose]: () => Promise.resolve() } };
  };
  const late = new EngineError("timeout", "sync did not end in time on the host");

  it("is asked for again while the host writes for longer than a command may take", async () => {
    await makeDurable(file(late, late, late, 0), { clock, signal });
    await assert.rejects(makeDurable(file(late), { clock, signal }), /did not end in time/);
  });

  it("rejects with what the host says against it", async () => {
    await assert.rejects(makeDurable(file(1), { clock, signal }), /web\.qcow2 could not be put on stable storage: .*Input\/output error/);
    await assert.rejects(makeDurable(file(new EngineError("host-lost", "gone")), { clock, signal }), /gone/);
  });
});
