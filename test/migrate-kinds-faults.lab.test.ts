import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { Job, Vm } from "@godwit/api";
import type { LabGuest, LabHost } from "@godwit/lab";
import {
  assertNothingLeft,
  assertOneWholeGuest,
  ended,
  eventually,
  isEnded,
  showJob,
  type Site,
  startSite,
  vmHost,
} from "./support/site.ts";

/** Data of the second disk: at 40 Mbit/s it takes seconds on its way. */
const dataMiB = 16;

describe("a move of a VM that stands still, or of its disks, that is hit", () => {
  let site: Site;
  let guest: LabGuest;
  let alpha: LabHost;
  let bravo: LabHost;

  before(async () => {
    site = await startSite({ hosts: 2 });
    [alpha, bravo] = [site.lab.host("alpha"), site.lab.host("bravo")];
    guest = await site.lab.createGuest({
      name: "web",
      host: alpha,
      memoryMiB: 160,
      disk: "local",
      extraDisks: [{ sizeMiB: 20, format: "raw", storage: "local" }],
    });
    await alpha.exec(["dd", "if=/dev/urandom", "of=/srv/local/web-vdb.raw", "bs=1M", `count=${dataMiB}`, "conv=notrunc", "status=none"]);
    await guest.start(alpha);
    await guest.waitForAgent({ host: alpha });
    await site.lab.faults.slowLink(bravo, "management", { mbit: 40 });
  });
  after(async () => site?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    await eventually("both hosts are up and the guest is seen", async () => {
      const hosts = await site.godwit.json<{ state: string }[]>(["host", "list"]);
      return hosts.every((one) => one.state === "up") && /^alpha (running|off)$/.test(await vmHost(site.godwit, "web"));
    });
  });

  const be = async (state: "running" | "off"): Promise<void> => {
    if ((await vmHost(site.godwit, "web")) === `alpha ${state}`) return;
    await site.godwit.run(state === "off" ? ["vm", "stop", "web", "--off"] : ["vm", "start", "web"]);
    if (state === "running") await guest.waitForAgent({ host: alpha });
  };

  /** Starts a move and resolves with its job once a phase that matches is under way. */
  const begin = async (args: readonly string[], phase: RegExp): Promise<string> => {
    const id = (await site.godwit.run([...args, "--no-wait"])).trim();
    await eventually(`${phase} of ${args.join(" ")}`, async () => {
      const job = await showJob(site.godwit, id);
      if (isEnded(job)) assert.fail(`the job ended too early: ${JSON.stringify(job.error)}`);
      return phase.test(job.progress?.phase ?? "");
    });
    return id;
  };
  const cold = ["vm", "migrate", "web", "--to", "bravo", "--kind", "cold", "--storage", "local"];
  const quick = ["vm", "migrate", "web", "--to", "bravo", "--kind", "quick", "--storage", "local"];
  const storage = ["vm", "move-storage", "web:vdb", "--to", "shared", "--format", "qcow2", "--bandwidth", "4M"];

  const bootId = async (): Promise<string> => (await guest.exec(["cat", "/proc/sys/kernel/random/boot_id"], { host: alpha })).toString();
  const files = async (host: LabHost, folder: string): Promise<string> => (await host.exec(["ls", folder])).stdout;

  /** Whole on alpha, and bravo keeps neither a definition nor a file of it. */
  const assertUndone = async (job: Job, state: Job["state"] = "failed"): Promise<void> => {
    assert.equal(job.state, state, JSON.stringify(job.error));
    if (state === "failed") assert.ok((job.error?.detail ?? "").length > 20, "a reason is missing");
    await assertNothingLeft(guest, bravo);
    assert.equal(await files(bravo, "/srv/local"), "");
    assert.equal(await files(alpha, "/srv/local"), "web-vda.qcow2\nweb-vdb.raw\n");
    await eventually("the server sees it", async () => (await vmHost(site.godwit, "web").catch(() => "")).startsWith("alpha "));
    if ((await guest.state(alpha)) === "running") assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
    else assert.ok((await guest.verifyOffline({ host: alpha })).ok);
  };

  describe("cold", () => {
    beforeEach(() => be("off"));

    it("by kill -9 of the server while disks are copied", async () => {
      const id = await begin(cold, /copying/);
      await site.killAndRestartServer();
      const job = await ended(site.godwit, id);
      assert.equal(job.error?.kind, "interrupted");
      await assertUndone(job);
    });

    it("by kill -9 of the destination's libvirtd", async () => {
      const id = await begin(cold, /copying/);
      await site.lab.faults.killLibvirtd(bravo);
      await site.lab.faults.startLibvirtd(bravo);
      await assertUndone(await ended(site.godwit, id));
    });

    it("by a cancel", async () => {
      const id = await begin(cold, /copying/);
      await site.godwit.run(["job", "cancel", id]);
      await assertUndone(await ended(site.godwit, id), "cancelled");
    });

    it("by a full disk on the destination", async () => {
      const id = await begin(cold, /copying/);
      await site.lab.faults.fillDisk(bravo);
      const job = await ended(site.godwit, id);
      await site.lab.faults.freeDisk(bravo);
      await assertUndone(job);
    });

    it("by somebody who starts it meanwhile: it stays where it runs", async () => {
      const id = await begin(cold, /copying/);
      await guest.start(alpha);
      const job = await ended(site.godwit, id);
      assert.match(job.error?.detail ?? "", /was started on alpha while it was moved/);
      await guest.waitForAgent({ host: alpha });
      await assertUndone(job);
    });
  });

  describe("quick", () => {
    beforeEach(() => be("running"));

    it("by kill -9 of the server soon after its memory was begun to be saved: it goes on from that memory", async () => {
      const boot = await bootId();
      const id = await begin(quick, /saving|copying/);
      await site.killAndRestartServer();
      await assertUndone(await ended(site.godwit, id));
      assert.equal(await bootId(), boot, "it was started anew");
    });

    it("by a cancel, and by kill -9 of the destination's libvirtd", async () => {
      const boot = await bootId();
      const id = await begin(quick, /copying/);
      await site.godwit.run(["job", "cancel", id]);
      await assertUndone(await ended(site.godwit, id), "cancelled");
      const second = await begin(quick, /copying/);
      await site.lab.faults.killLibvirtd(bravo);
      await site.lab.faults.startLibvirtd(bravo);
      await assertUndone(await ended(site.godwit, second));
      assert.equal(await bootId(), boot, "it was started anew");
    });

    it("by a full disk on the destination, and by a cut of the link", async () => {
      const boot = await bootId();
      const id = await begin(quick, /copying/);
      await site.lab.faults.fillDisk(bravo);
      const job = await ended(site.godwit, id);
      await site.lab.faults.freeDisk(bravo);
      await assertUndone(job);
      const second = await begin(quick, /copying/);
      await site.lab.faults.cutLink(bravo, "management");
      await eventually("bravo is lost", async () =>
        (await site.godwit.json<{ name: string; state: string }[]>(["host", "list"])).some(
          (host) => host.name === "bravo" && host.state === "lost",
        ),
      );
      await site.lab.faults.restoreLink(bravo, "management");
      await site.lab.faults.slowLink(bravo, "management", { mbit: 40 });
      await assertUndone(await ended(site.godwit, second, 90_000));
      assert.equal(await bootId(), boot, "it was started anew");
    });
  });

  describe("disks", () => {
    beforeEach(() => be("running"));
    const source = async (): Promise<string | undefined> =>
      (await site.godwit.json<Vm>(["vm", "show", "web"])).disks.find((disk) => disk.target === "vdb")?.source.path;

    it("on their way to the other host while it runs, by a full disk there", async () => {
      const id = await begin(["vm", "migrate", "web", "--to", "bravo", "--storage", "local", "--bandwidth", "4M"], /copying disks/);
      await site.lab.faults.fillDisk(bravo);
      const job = await ended(site.godwit, id);
      await site.lab.faults.freeDisk(bravo);
      await assertUndone(job);
    });

    it("by a cancel, and by a kill -9 of the guest's QEMU: the copy goes, the disk stays", async () => {
      const id = await begin(storage, /copying/);
      await site.godwit.run(["job", "cancel", id]);
      assert.equal((await ended(site.godwit, id)).state, "cancelled");
      assert.equal(await source(), "/srv/local/web-vdb.raw");
      assert.equal(await files(alpha, "/srv/shared"), "");
      const second = await begin(storage, /copying/);
      await site.lab.faults.killQemu(alpha, "web");
      assert.equal((await ended(site.godwit, second)).state, "failed");
      await eventually("the guest is off", async () => (await vmHost(site.godwit, "web")) === "alpha off");
      assert.equal(await source(), "/srv/local/web-vdb.raw");
      assert.equal(await files(alpha, "/srv/shared"), "");
      await be("running");
      assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
    });

    it("by kill -9 of the server: the next one takes the copy up and ends it", async () => {
      const id = await begin(storage, /copying/);
      await site.killAndRestartServer();
      const job = await ended(site.godwit, id);
      assert.equal(job.state, "done", JSON.stringify(job.error));
      assert.equal(await source(), "/srv/shared/web-vdb.qcow2");
      assert.equal(await files(alpha, "/srv/local"), "web-vda.qcow2\n");
      assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
    });
  });
});
