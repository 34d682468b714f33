import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { FilesCaptured, Job, Vm } from "@godwit/api";
import { type LabGuest, type LabHost, readImageFile } from "@godwit/lab";
import {
  assertNoTraces,
  assertWholePoint,
  bitmapsOf,
  capture,
  capturedOf,
  checkpointsOf,
  modes,
  startVault,
  withRestored,
} from "./support/captures.ts";
import { hookScript, installHook } from "./support/guest-hooks.ts";
import {
  assertOneWholeGuest,
  ended,
  eventually,
  isEnded,
  migrate,
  runGuest,
  showJob,
  type Site,
  startSite,
  vmHost,
} from "./support/site.ts";

const bulkMiB = 24;

/** `$1` is a qcow2 image of a VM that is off: 4 KiB of its first data are overwritten in the file itself. */
const writePastQemu = `offset=$(qemu-img map --output=json "$1" | grep -m 1 '"data": true' | sed 's/.*"offset": \\([0-9]*\\).*/\\1/')
dd if=/dev/urandom of="$1" bs=4096 count=1 seek=$((offset / 4096)) conv=notrunc status=none`;

describe("capturing a running guest", () => {
  let site: Site;
  let guest: LabGuest;
  let alpha: LabHost;
  let bravo: LabHost;

  before(async () => {
    site = await startSite({ hosts: 3 });
    [alpha, bravo] = [site.lab.host("alpha"), site.lab.host("bravo")];
    await startVault(site);
    guest = await runGuest(site.lab, "web", alpha, { extraDisks: [{ sizeMiB: bulkMiB }] });
    await eventually("the server sees the guest", async () => (await vmHost(site.godwit, "web").catch(() => "")) === "alpha running");
    await guest.waitForRecords(10);
  });
  after(async () => site?.[Symbol.asyncDispose]());

  it("reads all of it the first time, held still by its agent, and the point is whole", async () => {
    const result = await capture(site, guest);
    assert.deepEqual(modes(result), { vda: "full", vdb: "full" });
    assert.equal(result.consistency, "filesystem", result.evidence.join("; "));
    assert.ok(result.frozenMs > 0 && result.frozenMs < 10_000);
    assert.ok(result.readBytes < 64 << 20, "holes were read");
    await assertWholePoint(site, result);
    await assertNoTraces(guest, alpha);
  });

  it("reads only the changes the second time, and leaves one checkpoint", async () => {
    await guest.waitForRecords(10);
    const result = await capture(site, guest);
    assert.deepEqual(modes(result), { vda: "incremental", vdb: "incremental" });
    assert.ok(result.readBytes < 4 << 20, `${result.readBytes} bytes were read`);
    await assertWholePoint(site, result);
    assert.equal((await checkpointsOf(guest, alpha)).length, 1);
    await assertNoTraces(guest, alpha);
  });

  it("is byte for byte the disk as it was at its moment", async () => {
    await guest.waitForRecords(5);
    await alpha.virsh(["suspend", "web"]);
    try {
      const result = await capture(site, guest);
      assert.equal(result.consistency, "crash");
      assert.deepEqual(modes(result), { vda: "incremental", vdb: "incremental" });
      for (const { target, path } of guest.record.disks) {
        await withRestored(site, result.pointId, target, async (restored) => {
          await alpha.exec(["qemu-img", "compare", "-U", "-f", "qcow2", "-F", "raw", path, restored]);
        });
      }
    } finally {
      await alpha.virsh(["resume", "web"]);
    }
  });

  it("is application-consistent when the guest's own hooks say so of that very freeze, and no more than that", async () => {
    const less = await site.godwit.try(["protect", "web", "--vault", "main", "--at-least", "application"]);
    assert.match(less.stderr, /could only be filesystem-consistent: .*no hook of Godwit's ran/);
    await installHook(guest, alpha);
    // A database that keeps its newest value in memory until it is told to flush.
    await hookScript(guest, "db", '[ "$1" = freeze ] || exit 0; cp /run/db.value /data/db && sync /data/db');
    await guest.exec(["/bin/sh", "-c", "echo committed >/run/db.value"]);
    const result = await capture(site, guest, "--at-least", "application");
    assert.equal(result.consistency, "application");
    assert.match(result.evidence.join("; "), /own hooks made it ready: db/);
    const kept = await withRestored(site, result.pointId, "vda", (path) => readImageFile(path, "/db", { format: "raw" }));
    assert.equal(kept.toString(), "committed\n");

    await hookScript(guest, "db", "exit 7");
    const failed = await capture(site, guest);
    assert.equal(failed.consistency, "filesystem");
    assert.match(failed.evidence.join("; "), /db failed \(exit code 7\)/);

    await hookScript(guest, "db", '[ "$1" = freeze ] && exec sleep 600; exit 0');
    const hung = await capture(site, guest);
    assert.equal(hung.consistency, "filesystem");
    assert.match(hung.evidence.join("; "), /db took too long/);
    assert.ok(hung.frozenMs < 10_000, `${hung.frozenMs} ms`);
    await guest.exec(["rm", "/etc/qemu/fsfreeze-hook.d/db"]);
    await assertWholePoint(site, hung);
    await assertNoTraces(guest, alpha);
  });

  it("lets a guest go whose own hook keeps the agent busy and freezes it late", async () => {
    await installHook(guest, alpha, '#!/bin/sh\n[ "$1" = thaw ] || sleep 9\n');
    await using watch = await guest.watch();
    const result = await capture(site, guest);
    assert.equal(result.consistency, "crash");
    assert.match(result.evidence.join("; "), /did not freeze/);
    // It freezes only when its hook is over, which is when it answers again, and the host's timer thaws it.
    const status = (): Promise<unknown> => guest.agent("guest-fsfreeze-status", {}, { host: alpha, timeoutMs: 2_000 });
    await eventually(
      "it was let go",
      () =>
        status()
          .then((said) => said === "thawed")
          .catch(() => false),
      60_000,
    );
    await watch.next(3, { timeoutMs: 60_000 });
    assert.ok(watch.pauses().longestGapMs < 10_000, `${watch.pauses().longestGapMs} ms`);
    await installHook(guest, alpha);
    await assertWholePoint(site, result);
    await assertNoTraces(guest, alpha);
  });

  it("goes on with only the changes after a live migration", async () => {
    await migrate(site.godwit, "web", "bravo");
    await guest.waitForRecords(5);
    const result = await capture(site, guest);
    assert.equal(result.host, "bravo");
    assert.deepEqual(modes(result), { vda: "incremental", vdb: "incremental" });
    assert.ok(result.readBytes < 8 << 20, `${result.readBytes} bytes were read`);
    await assertWholePoint(site, result);
    await assertNoTraces(guest, bravo);
  });

  it("reads and compares after kill -9 of QEMU, stores only what is new, and then reads changes again", async () => {
    await site.lab.faults.killQemu(bravo, "web");
    await eventually("the guest is off", async () => (await guest.state(bravo)) === "shut off");
    await guest.start(bravo);
    await guest.waitForAgent({ host: bravo });
    // The damaged list goes along in the image; libvirt on the other host knows no checkpoint for it.
    await eventually("the server sees the guest", async () => (await vmHost(site.godwit, "web")) === "bravo running");
    await migrate(site.godwit, "web", "alpha");
    await guest.waitForRecords(5);
    const result = await capture(site, guest);
    assert.equal(result.disks.find(({ target }) => target === "vda")?.mode, "compared");
    assert.ok(result.storedBytes < 4 << 20, `${result.storedBytes} bytes were stored`);
    await assertWholePoint(site, result);
    await migrate(site.godwit, "web", "bravo");
    const next = await capture(site, guest);
    assert.deepEqual(modes(next), { vda: "incremental", vdb: "incremental" });
    await assertWholePoint(site, next);
    await assertNoTraces(guest, bravo);
  });

  it("leaves the checkpoints of others alone", async () => {
    await bravo.virsh(["checkpoint-create-as", "web", "foreign"]);
    const result = await capture(site, guest);
    assert.deepEqual(modes(result), { vda: "incremental", vdb: "incremental" });
    assert.equal((await checkpointsOf(guest, bravo)).includes("foreign"), true);
    await bravo.virsh(["checkpoint-delete", "web", "foreign"]);
    await assertWholePoint(site, await capture(site, guest));
  });

  it("parks for a migration, and goes on at the destination with what the vault has got", async () => {
    await fillBulk();
    const id = await readingBulk();
    const moved = await site.godwit.json<Job>(["vm", "migrate", "web", "--to", "alpha"]);
    assert.equal(moved.state, "done", JSON.stringify(moved.error));
    const parked = await ended(site.godwit, id);
    const { outcome, continuedBy } = parked.result as { outcome: string; continuedBy: string };
    assert.equal(outcome, "parked", JSON.stringify(parked));
    assert.ok(parked.reasons.some(({ code, text }) => code === "parked" && text.includes(moved.id)));
    const result = capturedOf(await ended(site.godwit, continuedBy));
    assert.equal(result.host, "alpha");
    assert.equal(result.disks.find(({ target }) => target === "vdb")?.mode, "incremental");
    await assertWholePoint(site, { ...result, acknowledged: [] });
    await assertNoTraces(guest, alpha);
    assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
  });

  it("ends before the migration that was told to wait for it, and both say so", async () => {
    await fillBulk();
    const id = await readingBulk();
    const move = (await site.godwit.run(["vm", "migrate", "web", "--to", "bravo", "--wait-for-capture", "--no-wait"])).trim();
    await eventually("both say so", async () => {
      const [moving, capturing] = [await showJob(site.godwit, move), await showJob(site.godwit, id)];
      const waits = moving.waitingFor.some(({ text }) => text.includes(id));
      return waits && capturing.reasons.some(({ code, text }) => code === "move-waits" && text.includes(move));
    });
    assert.equal(capturedOf(await ended(site.godwit, id)).host, "alpha");
    assert.equal((await ended(site.godwit, move)).state, "done");
    await migrate(site.godwit, "web", "alpha");
  });

  it("undoes itself when it is cancelled", async () => {
    await fillBulk();
    const id = await readingBulk();
    await site.godwit.run(["job", "cancel", id]);
    assert.equal((await ended(site.godwit, id)).state, "cancelled");
    await assertNoTraces(guest, alpha);
  });

  it("survives kill -9 of the server at any moment: the job ends well, and nothing is left", async () => {
    await capture(site, guest); // what is written into the second disk above
    for (const delayMs of [30, 300, 700]) {
      const { acknowledged } = await guest.acknowledgements();
      const id = (await site.godwit.run(["protect", "web", "--vault", "main", "--no-wait"])).trim();
      await new Promise((resolve) => setTimeout(resolve, delayMs)); // the moment of the blow, not a wait for something
      await site.killAndRestartServer();
      const result = capturedOf(await ended(site.godwit, id));
      await assertWholePoint(site, { ...result, acknowledged });
      await assertNoTraces(guest, alpha);
    }
    const next = await capture(site, guest);
    assert.deepEqual(modes(next), { vda: "incremental", vdb: "incremental" });
    assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
  });

  it("finds and repairs by a check what changed behind the hypervisor's back", async () => {
    const [, bulk] = guest.record.disks;
    assert.ok(bulk);
    await site.godwit.run(["vm", "stop", "web"]);
    await alpha.exec(["bash", "-euc", writePastQemu, "sh", bulk.path]);
    await site.godwit.run(["vm", "start", "web"]);
    await guest.waitForAgent({ host: alpha });
    const blind = await capture(site, guest);
    assert.equal(modes(blind)["vdb"], "incremental");
    const checked = await capture(site, guest, "--check");
    assert.deepEqual(modes(checked), { vda: "compared", vdb: "compared" });
    assert.deepEqual(
      checked.check?.map(({ target, unexpectedBytes = 0 }) => [target, unexpectedBytes > 0]),
      [
        ["vda", false],
        ["vdb", true],
      ],
    );
    await withRestored(site, checked.pointId, "vdb", (restored) =>
      alpha.exec(["qemu-img", "compare", "-U", "-f", "qcow2", "-F", "raw", bulk.path, restored]).then(() => undefined),
    );
    const again = await capture(site, guest, "--check");
    assert.ok(again.check?.every(({ unexpectedBytes }) => unexpectedBytes === 0));
    assert.deepEqual(modes(await capture(site, guest)), { vda: "incremental", vdb: "incremental" });
  });

  it("keeps files of the guest through its agent, and brings them back into it", async () => {
    const make =
      "mkdir -p '/data/set/a b' && cp /bin/busybox '/data/set/a b/busybox' && head -c 3000000 /dev/urandom >/data/set/random && ln -s random /data/set/link";
    await guest.exec(["/bin/sh", "-c", make]);
    const files = async (...args: readonly string[]): Promise<FilesCaptured> => {
      const job = await site.godwit.json<Job>(["protect-files", "web", "--vault", "main", "--set", "data", ...args]);
      assert.equal(job.state, "done", JSON.stringify(job.error));
      return job.result as FilesCaptured;
    };
    const kept = await files("--path", "/data/set");
    assert.ok(kept.readBytes > 3_000_000 && kept.readBytes % 512 === 0);
    const again = await files("--path", "/data/set");
    assert.ok(again.storedBytes < 100_000, `${again.storedBytes} bytes were stored again`);
    const back = await site.godwit.json<Job>(["recover", "files", kept.pointId, "--to", "web", "--into", "/data/back"]);
    assert.equal(back.state, "done", JSON.stringify(back.error));
    const sums = "cd \"$1\" && find . -type f -exec sha256sum '{}' ';' | sort; readlink link";
    const sumsOf = async (folder: string): Promise<string> => (await guest.exec(["/bin/sh", "-c", sums, "sh", folder])).toString();
    assert.equal(await sumsOf("/data/back/data/set"), await sumsOf("/data/set"));
    const missing = await site.godwit.try(["protect-files", "web", "--vault", "main", "--path", "/nowhere"]);
    assert.match(missing.stderr, /could not read all of it: .*nowhere/);
    assert.doesNotMatch((await alpha.virsh(["dumpxml", "web"])).stdout, /org.godwit.files/);
    assert.deepEqual(modes(await capture(site, guest)), { vda: "incremental", vdb: "incremental" });
  });

  it("parks for who stops the guest, and goes on with one that is off, and only with its changes", async () => {
    await fillBulk();
    const id = await readingBulk();
    await site.godwit.run(["vm", "stop", "web"]);
    const vm = await site.godwit.json<Vm>(["vm", "show", "web"]);
    for (const { target, source } of vm.disks) {
      const lists = await bitmapsOf(alpha, source.path ?? "");
      assert.equal(lists.length, 1, `${target} keeps the list of one checkpoint, whatever happened: ${lists.join(", ")}`);
    }
    const { outcome, continuedBy } = (await ended(site.godwit, id)).result as { outcome: string; continuedBy: string };
    assert.equal(outcome, "parked");
    const result = capturedOf(await ended(site.godwit, continuedBy));
    assert.deepEqual(modes(result), { vda: "incremental", vdb: "incremental" });
    await assertWholePoint(site, { ...result, acknowledged: (await guest.acknowledgements()).acknowledged });
  });

  /** Gives the second disk content that no earlier point has. */
  async function fillBulk(): Promise<void> {
    const script = `dd if=/dev/urandom of=/dev/vdb bs=1M count=${bulkMiB} 2>/dev/null; sync`;
    await guest.exec(["/bin/sh", "-c", script], { timeoutMs: 60_000 });
  }

  /** Starts a capture and resolves with its job once the second disk is being read. */
  async function readingBulk(): Promise<string> {
    // Held back, so that there is a middle on a fast machine, and it lasts until a command has started on a slow one.
    const id = (await site.godwit.run(["protect", "web", "--vault", "main", "--no-wait", "--bandwidth", "3M"])).trim();
    await eventually("the second disk is being read", async () => {
      const job = await showJob(site.godwit, id);
      if (isEnded(job)) assert.fail(`the capture ended too early: ${JSON.stringify(job.error ?? job.result)}`);
      return job.progress?.phase === "reading vdb";
    });
    return id;
  }
});
