import assert from "node:assert/strict";
import { jobKindContract } from "./job-kind-contract.ts";

/** Moves a thing between two places in three steps, undoing what it began when cancelled. */
jobKindContract("a move in three steps", {
  setup() {
    const places = { here: true, there: false, reserved: false };
    return {
      input: {},
      kind: {
        kind: "move",
        title: () => "Move it",
        subject: () => ({ type: "vm", id: "1", name: "it" }),
        locks: () => ["vm:1"],
        slots: () => [],
        async run(context) {
          const { signal } = context;
          try {
            await context.step("reserve", async () => {
              signal.throwIfAborted();
              places.reserved = true;
            });
            signal.throwIfAborted();
            await context.step("move", async () => {
              signal.throwIfAborted();
              places.here = false;
              places.there = true;
            });
          } finally {
            await context.step("release", async () => {
              places.reserved = false;
            });
          }
          return "moved";
        },
      },
      verify(job) {
        assert.equal(places.reserved, false, "nothing is left behind");
        assert.notEqual(places.here, places.there, "it is in exactly one place");
        if (job.state === "done") assert.equal(places.there, true);
      },
    };
  },
});
