import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { ended, eventually } from "./support/site.ts";
import { startStruckSite, type StruckSite } from "./support/struck-site.ts";

describe("a move of a VM that stands still, that is hit", () => {
  let struck: StruckSite;

  before(async () => {
    struck = await startStruckSite();
  });
  after(async () => struck?.[Symbol.asyncDispose]());
  beforeEach(() => struck.ready());

  const cold = ["vm", "migrate", "web", "--to", "bravo", "--kind", "cold", "--storage", "local"];
  const quick = ["vm", "migrate", "web", "--to", "bravo", "--kind", "quick", "--storage", "local"];

  const bootId = async (): Promise<string> =>
    (await struck.guest.exec(["cat", "/proc/sys/kernel/random/boot_id"], { host: struck.alpha })).toString();

  describe("cold", () => {
    beforeEach(() => struck.be("off"));

    it("by kill -9 of the server while disks are copied", async () => {
      const id = await struck.begin(cold, /copying/);
      await struck.site.killAndRestartServer();
      const job = await ended(struck.site.godwit, id);
      assert.equal(job.error?.kind, "interrupted");
      await struck.assertUndone(job);
    });

    it("by kill -9 of the destination's libvirtd", async () => {
      const id = await struck.begin(cold, /copying/);
      await struck.site.lab.faults.killLibvirtd(struck.bravo);
      await struck.site.lab.faults.startLibvirtd(struck.bravo);
      await struck.assertUndone(await ended(struck.site.godwit, id));
    });

    it("by a cancel", async () => {
      const id = await struck.begin(cold, /copying/);
      await struck.site.godwit.run(["job", "cancel", id]);
      await struck.assertUndone(await ended(struck.site.godwit, id), "cancelled");
    });

    it("by a full disk on the destination", async () => {
      const id = await struck.begin(cold, /copying/);
      await struck.site.lab.faults.fillDisk(struck.bravo);
      const job = await ended(struck.site.godwit, id);
      await struck.site.lab.faults.freeDisk(struck.bravo);
      await struck.assertUndone(job);
    });

    it("by somebody who starts it meanwhile: it stays where it runs", async () => {
      const id = await struck.begin(cold, /copying/);
      await struck.guest.start(struck.alpha);
      const job = await ended(struck.site.godwit, id);
      assert.match(job.error?.detail ?? "", /was started on alpha while it was moved/);
      await struck.guest.waitForAgent({ host: struck.alpha });
      await struck.assertUndone(job);
    });
  });

  describe("quick", () => {
    beforeEach(() => struck.be("running"));

    it("by kill -9 of the server soon after its memory was begun to be saved: it goes on from that memory", async () => {
      const boot = await bootId();
      const id = await struck.begin(quick, /saving|copying/);
      await struck.site.killAndRestartServer();
      await struck.assertUndone(await ended(struck.site.godwit, id));
      assert.equal(await bootId(), boot, "it was started anew");
    });

    it("by a cancel, and by kill -9 of the destination's libvirtd", async () => {
      const boot = await bootId();
      const id = await struck.begin(quick, /copying/);
      await struck.site.godwit.run(["job", "cancel", id]);
      await struck.assertUndone(await ended(struck.site.godwit, id), "cancelled");
      const second = await struck.begin(quick, /copying/);
      await struck.site.lab.faults.killLibvirtd(struck.bravo);
      await struck.site.lab.faults.startLibvirtd(struck.bravo);
      await struck.assertUndone(await ended(struck.site.godwit, second));
      assert.equal(await bootId(), boot, "it was started anew");
    });

    it("by a full disk on the destination, and by a cut of the link", async () => {
      const boot = await bootId();
      const id = await struck.begin(quick, /copying/);
      await struck.site.lab.faults.fillDisk(struck.bravo);
      const job = await ended(struck.site.godwit, id);
      await struck.site.lab.faults.freeDisk(struck.bravo);
      await struck.assertUndone(job);
      const second = await struck.begin(quick, /copying/);
      await struck.site.lab.faults.cutLink(struck.bravo, "management");
      await eventually("bravo is lost", async () =>
        (await struck.site.godwit.json<{ name: string; state: string }[]>(["host", "list"])).some(
          (host) => host.name === "bravo" && host.state === "lost",
        ),
      );
      await struck.site.lab.faults.restoreLink(struck.bravo, "management");
      await struck.slowDown();
      await struck.assertUndone(await ended(struck.site.godwit, second, 90_000));
      assert.equal(await bootId(), boot, "it was started anew");
    });
  });
});
