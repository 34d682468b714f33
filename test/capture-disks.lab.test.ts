import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Job, RecoverResult } from "@godwit/api";
import type { LabGuest, LabHost } from "@godwit/lab";
import {
  assertNoTraces,
  assertWholePoint,
  capture,
  type Captured,
  capturedOf,
  modes,
  startVault,
  withRestored,
} from "./support/captures.ts";
import { addOddDisks, type OddDisk } from "./support/odd-disks.ts";
import { agentAnswers, assertOneWholeGuest, ended, eventually, showJob, type Site, startSite, vmHost } from "./support/site.ts";

describe("capturing disks of every kind", () => {
  let site: Site;
  let guest: LabGuest;
  let alpha: LabHost;
  let bravo: LabHost;
  let odd: AsyncDisposable & { readonly disks: readonly OddDisk[] };

  before(async () => {
    site = await startSite({ hosts: 2 });
    [alpha, bravo] = [site.lab.host("alpha"), site.lab.host("bravo")];
    await startVault(site);
    guest = await site.lab.createGuest({ name: "web", host: alpha, disk: "local", extraDisks: [{ sizeMiB: 24, format: "raw" }] });
    odd = await addOddDisks(guest, alpha, bravo);
    await guest.start(alpha);
    await guest.waitForAgent({ host: alpha });
    await eventually("the server sees the guest", async () => (await vmHost(site.godwit, "web").catch(() => "")) === "alpha running");
    await guest.waitForRecords(5);
  });
  after(async () => {
    await odd?.[Symbol.asyncDispose](); // while there is a host to take the device from
    await site?.[Symbol.asyncDispose]();
  });

  /** Disks that the guest does not write now are in the point what they are on their storage. */
  async function assertLikeStorage({ pointId }: Captured): Promise<void> {
    const [, raw] = guest.record.disks;
    assert.ok(raw);
    for (const { target, format, path } of [raw, ...odd.disks]) {
      const compare = ["qemu-img", "compare", "-U", "-f", format, "-F", "raw", path];
      await withRestored(site, pointId, target, (restored) => alpha.exec([...compare, restored]).then(() => undefined));
    }
  }

  const writeEverywhere =
    'for disk in vdb vdc vdd vde; do dd if=/dev/urandom of=/dev/$disk bs=64k count=3 seek="$1" conv=fsync 2>/dev/null; done';

  it("reads raw, wrapped, network and block disks, and tracks what can be tracked", async () => {
    const first = await capture(site, guest);
    assert.deepEqual(new Set(Object.values(modes(first))), new Set(["full"]));
    await assertLikeStorage(first);
    await guest.exec(["/bin/sh", "-c", writeEverywhere, "sh", "100"]);
    const next = await capture(site, guest);
    assert.deepEqual(modes(next), { vda: "incremental", vdb: "compared", vdc: "incremental", vdd: "compared", vde: "compared" });
    await assertLikeStorage(next);
    await assertWholePoint(site, next);
    await assertNoTraces(guest, alpha);
  });

  it("reads them while the VM is off as well", async () => {
    await guest.exec(["/bin/sh", "-c", writeEverywhere, "sh", "200"]);
    await site.godwit.run(["vm", "stop", "web"]);
    const result = await capture(site, guest);
    assert.deepEqual(modes(result), { vda: "incremental", vdb: "compared", vdc: "incremental", vdd: "compared", vde: "compared" });
    await assertLikeStorage(result);
    await assertWholePoint(site, result);
    await site.godwit.run(["vm", "start", "web"]);
    await guest.waitForAgent({ host: alpha });
  });

  it("says that a disk was resized, and holds it in its new size", async () => {
    await alpha.virsh(["blockresize", "web", "vdb", "30M"]);
    await alpha.virsh(["blockresize", "web", "vda", "140M"]);
    const result = await capture(site, guest);
    for (const target of ["vda", "vdb"]) {
      const disk = result.disks.find((one) => one.target === target);
      assert.deepEqual([disk?.mode, disk?.reason.code], ["compared", "resized"]);
    }
    assert.equal(result.disks[1]?.sizeBytes, 30 << 20);
    await assertLikeStorage(result);
    await assertWholePoint(site, result);
    assert.equal(modes(await capture(site, guest))["vda"], "incremental");
    await assertNoTraces(guest, alpha);
  });

  it("gives up before the guest's overwritten blocks find no room, and leaves the guest well", async () => {
    const scratch = await smallScratch();
    await guest.exec(["/bin/sh", "-c", "dd if=/dev/urandom of=/dev/vdb bs=1M count=24 2>/dev/null; sync"], { timeoutMs: 60_000 });
    const id = (await site.godwit.run(["protect", "web", "--vault", "main", "--no-wait", "--bandwidth", "2M"])).trim();
    await eventually("it is reading", async () => (await showJob(site.godwit, id)).progress?.phase.startsWith("reading"));
    await alpha.exec(["bash", "-c", `head -c 1G /dev/zero >${scratch.folder}/filler; true`]);
    const job = await ended(site.godwit, id);
    assert.equal(job.state, "failed");
    assert.match(job.error?.detail ?? "", /given up for the guest's sake/);
    await scratch.release();
    assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
    await assertNoTraces(guest, alpha);
    await assertWholePoint(site, await capture(site, guest));
  });

  /** The folder that scratch files go to gets a small file system of its own. */
  async function smallScratch(): Promise<{ readonly folder: string; readonly release: () => Promise<void> }> {
    const { stdout } = await alpha.exec(["bash", "-c", "ls -d /var/lib/libvirt/qemu/domain-*-web"]);
    const folder = stdout.trim();
    await alpha.exec(["mount", "-t", "tmpfs", "-o", "size=300m,mode=777", "small", folder]);
    return { folder, release: () => alpha.exec(["umount", "-l", folder]).then(() => undefined) };
  }

  it("brings them back as files on another host, and they boot", async () => {
    const job = await site.godwit.json<Job>(["recover", "vm", "web", "--to", "bravo", "--storage", "local", "--name", "web2", "--start"]);
    assert.equal(job.state, "done", JSON.stringify(job.error));
    const { disks } = job.result as RecoverResult;
    assert.deepEqual(
      disks.map(({ target, path }) => [target, path.startsWith("/srv/local/web2-")]),
      ["vda", "vdb", "vdc", "vdd", "vde"].map((target) => [target, true]),
    );
    await eventually("its agent answers", () => agentAnswers(bravo, "web2"), 90_000);
    await bravo.virsh(["destroy", "web2"]);
  });

  it("keeps no point of a VM that was started while its images were read", async () => {
    const plain = await site.lab.createGuest({
      name: "plain",
      host: alpha,
      diskFormat: "raw",
      extraDisks: [{ sizeMiB: 16, format: "raw" }],
    });
    const [, bulk] = plain.record.disks;
    await alpha.exec(["dd", "if=/dev/urandom", `of=${bulk?.path ?? ""}`, "bs=1M", "count=16", "conv=notrunc", "status=none"]);
    await eventually("the server sees it", async () => (await vmHost(site.godwit, "plain").catch(() => "")) === "alpha off");
    const id = (await site.godwit.run(["protect", "plain", "--vault", "main", "--no-wait", "--bandwidth", "2M"])).trim();
    await eventually("its second disk is being read", async () => (await showJob(site.godwit, id)).progress?.phase === "reading vdb");
    await alpha.virsh(["start", "plain"]);
    const job = await ended(site.godwit, id);
    assert.deepEqual([job.state, job.error?.kind], ["failed", "conflict"], JSON.stringify(job));
    assert.match(job.error?.detail ?? "", /was started while its images were read/);
    await alpha.virsh(["destroy", "plain"]);
    assert.deepEqual(await site.godwit.json(["point", "list", "plain"]), []);
    await eventually("it is off", async () => (await vmHost(site.godwit, "plain")) === "alpha off");
    capturedOf(await site.godwit.json<Job>(["protect", "plain", "--vault", "main"]));
  });
});
