import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import type { ConfirmResult, Job, KeptImages, RecoveryPoint, RecoverResult, Vm } from "@godwit/api";
import type { LabGuest, LabHost } from "@godwit/lab";
import { capture, type Captured, capturedOf, modes, registerVault, startVault, withRestored } from "./support/captures.ts";
import { agentAnswers, ended, eventually, runGuest, type Site, startSite, vmHost } from "./support/site.ts";

describe("recovering a VM from a vault", () => {
  let site: Site;
  let guest: LabGuest;
  let alpha: LabHost;
  let bravo: LabHost;
  let point: Captured;
  let lastRecord: number;

  before(async () => {
    site = await startSite({ hosts: 2, serverArgs: ["--recoveries", "1"] });
    [alpha, bravo] = [site.lab.host("alpha"), site.lab.host("bravo")];
    await startVault(site);
    guest = await runGuest(site.lab, "web", alpha, { extraDisks: [{ sizeMiB: 32, format: "raw" }], tpm: true });
    await eventually("the server sees the guest", async () => (await vmHost(site.godwit, "web").catch(() => "")) === "alpha running");
    await guest.waitForRecords(10);
    point = await capture(site, guest);
    lastRecord = (await guest.acknowledgements()).acknowledged.at(-1)?.number ?? 0;
  });
  after(async () => site?.[Symbol.asyncDispose]());

  async function recover(...args: readonly string[]): Promise<RecoverResult> {
    const job = await site.godwit.json<Job>(["recover", ...args]);
    assert.equal(job.state, "done", JSON.stringify(job.error));
    return job.result as RecoverResult;
  }

  /** Every image of a recovery holds exactly what the point does. */
  async function assertEqualToPoint(host: LabHost, result: RecoverResult, format = "qcow2"): Promise<void> {
    for (const { target, path } of result.disks) {
      await withRestored(site, result.pointId, target, (restored) =>
        host.exec(["qemu-img", "compare", "-f", format, "-F", "raw", path, restored]).then(() => undefined),
      );
    }
  }

  it("says at once why a recovery cannot be, and changes nothing", async () => {
    const refused = await site.godwit.try(["recover", "vm", point.pointId, "--to", "alpha", "--storage", "nowhere"]);
    assert.equal(refused.code, 4, refused.stderr);
    assert.match(refused.stderr, /storage pool 'nowhere'/);
    assert.match(refused.stderr, /another VM named web/);
    const running = await site.godwit.try(["recover", "vm", point.pointId, "--in-place"]);
    assert.equal(running.code, 4, running.stderr);
    assert.match(running.stderr, /web is running/);
  });

  it("refuses a host that lacks swtpm for a VM with a TPM, before anything changes, and goes there once it is installed", async () => {
    const there = async (): Promise<string> =>
      (await bravo.virsh(["list", "--all", "--name"])).stdout + (await bravo.virsh(["vol-list", "local"])).stdout;
    const restartLibvirtd = async (): Promise<void> => {
      await site.lab.faults.killLibvirtd(bravo);
      await site.lab.faults.startLibvirtd(bravo);
    };
    const before = await there();
    await bravo.exec(["mount", "--bind", "/dev/null", "/usr/bin/swtpm"]);
    await restartLibvirtd(); // it remembers what it has found
    const recovery = ["recover", "vm", point.pointId, "--to", "bravo", "--storage", "local", "--name", "web2"];
    let ran = await site.godwit.try(recovery);
    await eventually("bravo is connected again, and it is refused or done", async () => {
      if (ran.code === 0 || /swtpm/.test(ran.stderr)) return true;
      ran = await site.godwit.try(recovery);
      return false;
    }).catch((cause: unknown) => assert.fail(`${String(cause)}: ${ran.stderr}`));
    assert.equal(ran.code, 4, ran.stderr);
    assert.match(ran.stderr, /cannot emulate the VM's TPM: install swtpm/);
    assert.equal(await there(), before);
    await bravo.exec(["umount", "/usr/bin/swtpm"]);
  });

  /** The sum of what an emulated TPM keeps: its seeds and keys are random, so that no two have the same. */
  async function tpmState(host: LabHost, id: string): Promise<string> {
    const { stdout } = await host.exec(["sha256sum", `/var/lib/libvirt/swtpm/${id}/tpm2/tpm2-00.permall`]);
    return stdout.slice(0, 64);
  }

  it("makes a new VM on another host, which boots with its records and TPM and is captured by its changes alone", async () => {
    const result = await recover("vm", point.pointId, "--to", "bravo", "--storage", "local", "--name", "web2");
    await assertEqualToPoint(bravo, result);
    const idOf = async (name: string): Promise<string> => (await site.godwit.json<Vm>(["vm", "show", name])).id;
    assert.equal(await tpmState(bravo, await idOf("web2")), await tpmState(alpha, await idOf("web")));
    const again = await site.godwit.json<Job>(["vm", "start", "web2"]);
    assert.equal(again.state, "done", JSON.stringify(again.error));
    const vm = await site.godwit.json<Vm>(["vm", "show", "web2"]);
    const original = await site.godwit.json<Vm>(["vm", "show", "web"]);
    assert.notEqual(vm.id, original.id);
    assert.notEqual(vm.nics[0]?.mac, original.nics[0]?.mac);
    await eventually("the recovered guest's agent answers", () => agentAnswers(bravo, "web2"), 90_000);
    const { after: found } = await eventually("its workload starts", async () => (await guest.acknowledgements()).starts[1]);
    assert.ok(found > 0 && found <= lastRecord, `it found record ${found} on its disk, of ${lastRecord}`);
    const captured = capturedOf(await site.godwit.json<Job>(["protect", "web2", "--vault", "main"]));
    assert.deepEqual(modes(captured), { vda: "incremental", vdb: "incremental" });
    await bravo.virsh(["destroy", "web2"]);
  });

  it("writes into the VM's own images only what differs, raw ones too", async () => {
    await site.godwit.run(["vm", "stop", "web"]);
    const result = await recover("vm", point.pointId, "--in-place");
    assert.ok(
      result.disks.every(({ writtenBytes }) => writtenBytes < 16 << 20),
      JSON.stringify(result.disks),
    );
    await assertEqualToPoint(alpha, { ...result, disks: result.disks.filter(({ target }) => target === "vda") });
    await assertEqualToPoint(alpha, { ...result, disks: result.disks.filter(({ target }) => target === "vdb") }, "raw");
    await site.godwit.run(["vm", "start", "web"]);
    await guest.waitForAgent({ host: alpha });
    const next = await capture(site, guest);
    assert.equal(next.disks.find(({ target }) => target === "vda")?.mode, "incremental");
    assert.equal(next.disks.find(({ target }) => target === "vdb")?.mode, "compared");
  });

  it("replaces the VM's images and keeps the old ones aside until an admin confirms", async () => {
    await site.godwit.run(["vm", "stop", "web"]);
    const result = await recover("vm", point.pointId, "--replace", "--keep-old", "--storage", "shared", "--start");
    assert.deepEqual(result.keptAside.toSorted(), guest.record.disks.map(({ path }) => path).toSorted());
    for (const path of result.keptAside) await alpha.exec(["test", "-e", path]);
    await guest.waitForAgent({ host: alpha });
    const kept = await site.godwit.json<KeptImages[]>(["recover", "kept"]);
    assert.deepEqual(
      kept.map(({ vm, until, paths }) => [vm, until, paths]),
      [["web", "confirmed", result.keptAside]],
    );
    const confirmed = await site.godwit.json<Job>(["recover", "confirm", "web"]);
    assert.deepEqual((confirmed.result as ConfirmResult).removed.toSorted(), result.keptAside.toSorted());
    for (const path of result.keptAside) await alpha.exec(["test", "!", "-e", path]);
    const next = await capture(site, guest);
    assert.deepEqual(modes(next), { vda: "incremental", vdb: "incremental" });
  });

  it("removes the old images by itself once the VM has booted from the new ones", async () => {
    await site.godwit.run(["vm", "stop", "web"]);
    const { keptAside, disks } = await recover("vm", point.pointId, "--replace", "--storage", "shared");
    for (const path of keptAside) await alpha.exec(["test", "-e", path]);
    await site.godwit.run(["vm", "start", "web"]);
    const gone = async (): Promise<boolean> => (await site.godwit.json<KeptImages[]>(["recover", "kept"])).length === 0;
    await eventually("nothing is kept aside any more", gone, 90_000);
    for (const path of keptAside) await alpha.exec(["test", "!", "-e", path]);
    for (const { path } of disks) await alpha.exec(["test", "-e", path]);
  });

  it("goes on after kill -9 of the server", async () => {
    const id = (
      await site.godwit.run(["recover", "vm", point.pointId, "--to", "bravo", "--storage", "local", "--name", "web3", "--no-wait"])
    ).trim();
    await new Promise((resolve) => setTimeout(resolve, 500)); // the moment of the blow, not a wait for something
    await site.killAndRestartServer();
    const job = await ended(site.godwit, id);
    assert.equal(job.state, "done", JSON.stringify(job.error));
    await assertEqualToPoint(bravo, job.result as RecoverResult);
  });

  it("makes images of single disks, no more of them at once than the server is allowed", async () => {
    const one = (disk: string): Promise<Job> =>
      site.godwit.json<Job>(["recover", "disk", point.pointId, disk, "--to", "bravo", "--storage", "local"]);
    const jobs = (await Promise.all([one("vda"), one("vdb")])).toSorted((a, b) => Date.parse(a.startedAt!) - Date.parse(b.startedAt!));
    const made = jobs.flatMap(({ result }) => (result as RecoverResult).disks.map(({ target }) => target));
    assert.deepEqual(made.toSorted(), ["vda", "vdb"]);
    const [first, second] = jobs;
    assert.ok(Date.parse(first!.endedAt!) <= Date.parse(second!.startedAt!), "the second waits for the first");
    for (const { result } of jobs) await assertEqualToPoint(bravo, result as RecoverResult);
  });

  it("needs nothing but the vault: an empty server recovers the VM that no host has any more", async () => {
    await alpha.virsh(["destroy", "web"]);
    await alpha.virsh(["undefine", "web", "--checkpoints-metadata"]);
    await site.server.stop();
    await rm(site.server.stateDir, { recursive: true });
    await site.killAndRestartServer();
    for (const host of site.lab.hosts) await site.godwit.run(["host", "add", host.name, site.lab.uri(host)]);
    await registerVault(site);
    const points = await site.godwit.json<RecoveryPoint[]>(["point", "list", "web"]);
    const newest = points.at(-1);
    assert.ok(newest && points.some(({ id }) => id === point.pointId));
    const result = await recover("vm", "web", "--to", "bravo", "--storage", "shared", "--start");
    assert.equal(result.pointId, newest.id);
    assert.equal(result.vmId, guest.record.uuid, "nobody else has its identity, so it keeps it");
    await guest.waitForAgent({ host: bravo });
    await guest.waitForRecords(3);
  });
});
