import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { Job, Vm } from "@godwit/api";
import type { LabGuest } from "@godwit/lab";
import {
  assertNothingLeft,
  assertOneWholeGuest,
  ended,
  eventually,
  isEnded,
  migrate,
  runGuest,
  type Site,
  slowMigration,
  startSite,
  vmHost,
} from "./support/site.ts";

describe("a migration that is hit", () => {
  let site: Site;
  let guest: LabGuest;

  before(async () => {
    site = await startSite({ hosts: 2 });
    guest = await runGuest(site.lab, "web", site.lab.host("alpha"));
    await site.godwit.run(["live-migration", "set", "--order", "migration,storage"]);
  });
  after(async () => site?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    const host = await assertOneWholeGuest(site.lab, guest);
    await eventually("both hosts are up and the guest is seen", async () => {
      const hosts = await site.godwit.json<{ state: string }[]>(["host", "list"]);
      return hosts.every((one) => one.state === "up") && (await vmHost(site.godwit, "web")) === `${host} running`;
    });
    if (host !== "alpha") await migrate(site.godwit, "web", "alpha");
  });

  /** After the blow the guest runs on alpha as if nothing had been, and bravo keeps nothing. */
  async function assertUndone(job: Job, state: Job["state"] = "failed"): Promise<void> {
    assert.equal(job.state, state, JSON.stringify(job.error));
    if (state === "failed") assert.ok((job.error?.detail ?? "").length > 20, "a reason is missing");
    assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
    await assertNothingLeft(guest, site.lab.host("bravo"));
  }

  it("by kill -9 of the server in the middle: the next one finds one running guest and says so", async () => {
    const id = await slowMigration(site.godwit, "web", "bravo");
    await site.killAndRestartServer();
    const job = await ended(site.godwit, id);
    await assertUndone(job);
    assert.equal(job.error?.kind, "interrupted");
    const limit = await site.lab.host("alpha").virsh(["migrate-getmaxdowntime", "web"]);
    assert.equal(limit.stdout.trim(), "300", "its process keeps a limit that only the server that is gone knew of");
  });

  it("by kill -9 of the server at moments all along: always one whole guest, and the job ends", async () => {
    for (const delayMs of [60, 350, 700, 1100]) {
      const from = await assertOneWholeGuest(site.lab, guest);
      const to = from === "alpha" ? "bravo" : "alpha";
      const id = (await site.godwit.run(["vm", "migrate", "web", "--to", to, "--no-wait"])).trim();
      await new Promise((resolve) => setTimeout(resolve, delayMs)); // the moment of the blow, not a wait for something
      await site.killAndRestartServer();
      const job = await ended(site.godwit, id);
      const now = await assertOneWholeGuest(site.lab, guest);
      assert.equal(now, job.state === "done" ? to : from, JSON.stringify(job.error));
      await assertNothingLeft(guest, site.lab.host(now === "alpha" ? "bravo" : "alpha"));
      await eventually("the server sees it there", async () => (await vmHost(site.godwit, "web").catch(() => "")) === `${now} running`);
    }
  });

  it("by kill -9 of the destination's QEMU", async () => {
    const id = await slowMigration(site.godwit, "web", "bravo");
    await site.lab.faults.killQemu(site.lab.host("bravo"), "web");
    await assertUndone(await ended(site.godwit, id));
  });

  it("by kill -9 of the destination's libvirtd", async () => {
    const id = await slowMigration(site.godwit, "web", "bravo");
    await site.lab.faults.killLibvirtd(site.lab.host("bravo"));
    await eventually("bravo is shown as lost", async () =>
      (await site.godwit.json<{ name: string; state: string }[]>(["host", "list"])).some(
        (host) => host.name === "bravo" && host.state === "lost",
      ),
    );
    await site.lab.faults.startLibvirtd(site.lab.host("bravo"));
    const job = await ended(site.godwit, id);
    const now = await assertOneWholeGuest(site.lab, guest);
    assert.equal(now, job.state === "done" ? "bravo" : "alpha");
    await assertNothingLeft(guest, site.lab.host(now === "alpha" ? "bravo" : "alpha"));
  });

  it("by kill -9 of the source's libvirtd: its guest is unknown, not gone, until it is back", async () => {
    const id = await slowMigration(site.godwit, "web", "bravo");
    await site.lab.faults.killLibvirtd(site.lab.host("alpha"));
    await eventually("the guest is unknown", async () => {
      const vm = await site.godwit.json<Vm>(["vm", "show", "web"]).catch(() => undefined);
      return vm?.host === "alpha" && vm.state === "unknown";
    });
    await site.lab.faults.startLibvirtd(site.lab.host("alpha"));
    await assertUndone(await ended(site.godwit, id));
  });

  it("by a cut of the migration link: given up within bounds, the guest untouched", async () => {
    const id = await slowMigration(site.godwit, "web", "bravo");
    await site.lab.faults.cutLink(site.lab.host("bravo"), "migration");
    try {
      const job = await ended(site.godwit, id, 90_000);
      assert.ok(isEnded(job));
      const now = await assertOneWholeGuest(site.lab, guest);
      assert.equal(now, job.state === "done" ? "bravo" : "alpha");
    } finally {
      await site.lab.faults.restoreLink(site.lab.host("bravo"), "migration");
      await site.godwit.run(["network", "probe"]);
    }
  });

  it("by a cancel at several moments", async () => {
    for (const delayMs of [0, 400, 900]) {
      // So slow that it is under way still when the command for the cancel has started on a busy machine.
      const id = (await site.godwit.run(["vm", "migrate", "web", "--to", "bravo", "--no-wait", "--bandwidth", "8M"])).trim();
      await new Promise((resolve) => setTimeout(resolve, delayMs)); // the moment of the cancel, not a wait for something
      await site.godwit.run(["job", "cancel", id]);
      await assertUndone(await ended(site.godwit, id), "cancelled");
    }
  });

  it("by kill -9 of the server while disks are copied: the half-made copies go as well", async () => {
    const local = await runGuest(site.lab, "local", site.lab.host("alpha"), { disk: "local" });
    await eventually("the server sees it", async () => (await vmHost(site.godwit, "local").catch(() => "")) === "alpha running");
    const id = await slowMigration(site.godwit, "local", "bravo", "--storage", "local");
    await site.killAndRestartServer();
    const job = await ended(site.godwit, id);
    assert.equal(job.state, "failed");
    assert.equal(await assertOneWholeGuest(site.lab, local), "alpha");
    const path = local.record.disks[0]?.path ?? "";
    assert.notEqual((await site.lab.host("bravo").exec(["test", "-e", path], { check: false })).code, 0, `${path} was left on bravo`);
    await local.destroy(site.lab.host("alpha"));
  });
});
