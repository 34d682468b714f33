import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Job, MemberStatus, RecoveryPoint, UncoveredVm } from "@godwit/api";
import type { LabGuest } from "@godwit/lab";
import { startVault, withRestored } from "./support/captures.ts";
import { ended, eventually, showJob, type Site, startSite } from "./support/site.ts";

/** A host reports a new VM at once; a group that missed it looks again every minute. */
const seenMs = 120_000;

describe("a protection group", () => {
  let site: Site;
  let web: LabGuest;

  before(async () => {
    site = await startSite({ hosts: 1 });
    await startVault(site);
    await site.godwit.run(["group", "create", "webs", "--vm", "web*", "--every", "60", "--keep", "last=2", "--vault", "main"]);
  });
  after(async () => site?.[Symbol.asyncDispose]());

  const pointsOf = (vm: string): Promise<RecoveryPoint[]> => site.godwit.json<RecoveryPoint[]>(["point", "list", vm]);

  it("captures a new VM that matches by itself", async () => {
    const alpha = site.lab.host("alpha");
    await site.lab.createGuest({ name: "mail", host: alpha });
    web = await site.lab.createGuest({ name: "web1", host: alpha });
    const status = await eventually(
      "the new member has a point",
      async () => {
        const all = await site.godwit.json<MemberStatus[]>(["protection", "status"]);
        return all.find(({ vm, lastPointId }) => vm === "web1" && lastPointId !== undefined);
      },
      seenMs,
    );
    assert.equal(status.group, "webs");
    assert.equal(status.state, "ok", status.reason.text);
    const [disk] = web.record.disks;
    assert.ok(disk && status.lastPointId !== undefined);
    await withRestored(site, status.lastPointId, disk.target, async (restored) => {
      await alpha.exec(["qemu-img", "compare", "-f", disk.format, "-F", "raw", disk.path, restored]);
    });
  });

  it("leaves the others alone, and they are listed as not protected", async () => {
    const missing = await site.godwit.json<UncoveredVm[]>(["protection", "missing"]);
    assert.deepEqual(
      missing.map(({ name }) => name),
      ["mail"],
    );
    const jobs = await site.godwit.json<Job[]>(["job", "list", "--limit", "100"]);
    assert.ok(jobs.every(({ kind, subject }) => kind !== "vm.capture" || subject.name.startsWith("web")));
  });

  it("keeps to its bandwidth, and to another one while a capture runs", async () => {
    const alpha = site.lab.host("alpha");
    await site.godwit.run(["group", "pause", "webs"]); // until there is something to read
    await site.godwit.run(["group", "edit", "webs", "--bandwidth", "00:00-23:59 1M", "--bandwidth", "1M"]);
    const bulk = await site.lab.createGuest({ name: "web2", host: alpha, extraDisks: [{ sizeMiB: 40, format: "raw" }] });
    await alpha.exec([
      "dd",
      "if=/dev/urandom",
      `of=${bulk.record.disks[1]?.path ?? ""}`,
      "bs=1M",
      "count=40",
      "conv=notrunc",
      "status=none",
    ]);
    await site.godwit.run(["group", "resume", "webs"]);
    const capturing = async (): Promise<Job | undefined> =>
      (await site.godwit.json<Job[]>(["job", "list", "--limit", "100"])).find(
        ({ kind, subject }) => kind === "vm.capture" && subject.name === "web2",
      );
    const { id } = await eventually(
      "its second disk is being read",
      async () => {
        const job = await capturing();
        return job?.progress?.phase === "reading vdb" && job;
      },
      seenMs,
    );
    await new Promise((resolve) => setTimeout(resolve, 3000)); // 40 MiB take 40 s, unless the limit was not kept
    assert.equal((await showJob(site.godwit, id)).state, "running");
    await site.godwit.run(["group", "edit", "webs", "--bandwidth", "none"]);
    const job = await ended(site.godwit, id, 25_000);
    assert.equal(job.state, "done", JSON.stringify(job.error));
  });

  it("captures its member once, whoever restarts the server", async () => {
    const before = await pointsOf("web1");
    await site.killAndRestartServer();
    await eventually("the server sees it again", async () => {
      const { code, stdout } = await site.godwit.try(["protection", "status", "-o", "json"]);
      return code === 0 && (JSON.parse(stdout) as MemberStatus[]).some(({ vm, state }) => vm === "web1" && state === "ok");
    });
    assert.deepEqual(await pointsOf("web1"), before);
  });
});
