import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Random } from "../packages/libvirt/fuzz/random.ts";
import { startVault } from "./support/captures.ts";
import { eventually, runGuest, type Site, startSite, vmHost } from "./support/site.ts";
import { bulkMiB, Soak } from "./support/soak.ts";

/**
 * `GODWIT_SOAK_SECONDS=3600 npm test -- --lab soak` goes on for an hour, in an order of things that nobody chose;
 * GODWIT_SOAK_SEED repeats one. Without either it is the order that once found something, so that the suite's answer
 * depends on the code alone.
 */
const long = process.env["GODWIT_SOAK_SECONDS"];
const seconds = Number(long ?? 40);
const seed = Number(process.env["GODWIT_SOAK_SEED"] ?? (long === undefined ? 129_240_594 : Math.floor(Math.random() * 2 ** 32)));

/** The hosts' way to the vault: slow enough for things to happen during a capture. */
const mbit = 100;

describe("a guest that everything happens to", () => {
  let site: Site;
  let soak: Soak;

  before(async () => {
    site = await startSite({ hosts: 2 });
    const alpha = site.lab.host("alpha");
    await startVault(site);
    const guest = await runGuest(site.lab, "web", alpha, { memoryMiB: 160, extraDisks: [{ sizeMiB: bulkMiB }] });
    await eventually("the server sees the guest", async () => (await vmHost(site.godwit, "web").catch(() => "")) === "alpha running");
    for (const host of site.lab.hosts) await site.lab.faults.slowLink(host, "management", { mbit });
    await guest.waitForRecords(10);
    soak = new Soak(site, guest, new Random(seed));
  });
  after(async () => site?.[Symbol.asyncDispose]());

  it(`has recovery points that all hold what they claim, and nothing is left behind (seed ${seed})`, async (test) => {
    const end = performance.now() + seconds * 1000;
    try {
      do await soak.step();
      while (performance.now() < end);
      await soak.end();
    } catch (cause) {
      throw new Error(`with GODWIT_SOAK_SEED=${seed}, after: ${soak.story.join(", ")}`, { cause });
    }
    assert.ok(soak.points > 0);
    test.diagnostic(`seed ${seed}: ${soak.story.length} things happened, ${soak.points} recovery points were restored`);
  });
});
