import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { Vm } from "@godwit/api";
import { assertOneWholeGuest, ended, eventually, vmHost } from "./support/site.ts";
import { startStruckSite, type StruckSite } from "./support/struck-site.ts";

describe("a move of disks that is hit", () => {
  let struck: StruckSite;

  before(async () => {
    struck = await startStruckSite();
  });
  after(async () => struck?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    await struck.ready();
    await struck.be("running");
  });

  /** So slow that what is to hit the copy finds it under way, however long a busy machine takes to begin with it. */
  const migration = ["vm", "migrate", "web", "--to", "bravo", "--storage", "local", "--bandwidth", "2M"];
  const storage = (bandwidth: string): string[] => [
    "vm",
    "move-storage",
    "web:vdb",
    "--to",
    "shared",
    "--format",
    "qcow2",
    "--bandwidth",
    bandwidth,
  ];

  const source = async (): Promise<string | undefined> =>
    (await struck.site.godwit.json<Vm>(["vm", "show", "web"])).disks.find((disk) => disk.target === "vdb")?.source.path;

  it("on their way to the other host while it runs, by a full disk there", async () => {
    const id = await struck.begin(migration, /copying disks/);
    await struck.site.lab.faults.fillDisk(struck.bravo);
    const job = await ended(struck.site.godwit, id);
    await struck.site.lab.faults.freeDisk(struck.bravo);
    await struck.assertUndone(job);
  });

  it("on their way to the other host while it runs, by a cut of the link: given up within bounds", async () => {
    const id = await struck.begin(migration, /copying disks/);
    await struck.site.lab.faults.cutLink(struck.bravo, "migration");
    try {
      await struck.assertUndone(await ended(struck.site.godwit, id, 90_000));
    } finally {
      await struck.site.lab.faults.restoreLink(struck.bravo, "migration");
      await struck.site.godwit.run(["network", "probe"]);
    }
  });

  it("on their way to the other host, by a kill -9 of the guest's QEMU: it is off where it was, and the half-made copy goes", async () => {
    const id = await struck.begin(migration, /copying disks/);
    await struck.site.lab.faults.killQemu(struck.alpha, "web");
    const job = await ended(struck.site.godwit, id);
    assert.equal(await struck.guest.state(struck.alpha), "shut off");
    await struck.assertUndone(job);
  });

  it("by a cancel, and by a kill -9 of the guest's QEMU: the copy goes, the disk stays", async () => {
    const id = await struck.begin(storage("2M"), /copying/);
    await struck.site.godwit.run(["job", "cancel", id]);
    assert.equal((await ended(struck.site.godwit, id)).state, "cancelled");
    assert.equal(await source(), "/srv/local/web-vdb.raw");
    assert.equal(await struck.files(struck.alpha, "/srv/shared"), "");
    const second = await struck.begin(storage("2M"), /copying/);
    await struck.site.lab.faults.killQemu(struck.alpha, "web");
    assert.equal((await ended(struck.site.godwit, second)).state, "failed");
    await eventually("the guest is off", async () => (await vmHost(struck.site.godwit, "web")) === "alpha off");
    assert.equal(await source(), "/srv/local/web-vdb.raw");
    assert.equal(await struck.files(struck.alpha, "/srv/shared"), "");
    await struck.be("running");
    assert.equal(await assertOneWholeGuest(struck.site.lab, struck.guest), "alpha");
  });

  it("by kill -9 of the server: the next one takes the copy up and ends it", async () => {
    const id = await struck.begin(storage("4M"), /copying/);
    await struck.site.killAndRestartServer();
    const job = await ended(struck.site.godwit, id);
    assert.equal(job.state, "done", JSON.stringify(job.error));
    assert.equal(await source(), "/srv/shared/web-vdb.qcow2");
    assert.equal(await struck.files(struck.alpha, "/srv/local"), "web-vda.qcow2\n");
    assert.equal(await assertOneWholeGuest(struck.site.lab, struck.guest), "alpha");
  });
});
