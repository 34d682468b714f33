import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Job, MemberStatus, RecoveryPoint, UncoveredVm } from "@godwit/api";
import type { LabGuest } from "@godwit/lab";
import { startVault, withRestored } from "./support/captures.ts";
import { eventually, type Site, startSite } from "./support/site.ts";

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
    assert.ok(jobs.every(({ kind, subject }) => kind !== "vm.capture" || subject.name === "web1"));
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
