import assert from "node:assert/strict";
import { test } from "node:test";
import { type Reason, RouteLostError, type UsableRoute } from "../../src/index.ts";
import { Routes } from "../../src/recovery/routes.ts";

const route = (kind: "tls" | "tcp"): UsableRoute => ({
  view: { kind, reason: { code: kind, text: `by ${kind}` } },
  route: { kind, address: "10.0.0.1", firstPort: 1, lastPort: 2 },
});

test("disks that lose a way at the same time go on by the next one, and say so once", async () => {
  const routes = new Routes([route("tls"), route("tcp")]);
  const reasons: Reason[] = [];
  const context = { reason: async (reason: Reason) => void reasons.push(reason) };
  const write = (): Promise<string> =>
    routes.through(context, async ({ kind }, again) => {
      await Promise.resolve();
      if (kind === "tls") throw new RouteLostError("the cable was pulled");
      return `${kind} ${again}`;
    });
  assert.deepEqual(await Promise.all([write(), write()]), ["tcp true", "tcp true"]);
  assert.deepEqual(reasons, [{ code: "route-lost", text: "by tls: the cable was pulled; the writing goes on by tcp" }]);
  assert.equal(await write(), "tcp false");
  const last = routes.through(context, () => Promise.reject(new RouteLostError("this one, too")));
  await assert.rejects(last, /this one, too/);
});
