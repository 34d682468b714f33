import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Job, MigrationResult, StorageMoveResult, Vm } from "@godwit/api";
import type { LabGuest, LabHost } from "@godwit/lab";
import { assertNothingLeft, assertOneWholeGuest, eventually, migrate, type Site, startSite, vmHost } from "./support/site.ts";

const exists = async (host: LabHost, path: string): Promise<boolean> =>
  (await host.exec(["test", "-e", path], { check: false })).code === 0;

/** The files went from host to host over that network, and over no other one. */
function assertCarried(result: MigrationResult, network: string): void {
  assert.equal(result.network, network);
  assert.match(result.proof, new RegExp(`^${result.source} migr0 sent .* over ${network}.* each compared by both hosts and the same$`));
  const data = result.memoryBytes + result.diskBytes;
  const sent = (on: string): number =>
    result.interfaces.filter((one) => one.host === result.source && one.network === on).reduce((sum, one) => sum + one.sentBytes, 0);
  assert.ok(data > 1 << 20 && sent(network) >= data * 0.95, `${sent(network)} bytes of ${data}`);
  assert.ok(sent("management") < data / 4, `${sent("management")} bytes went over the management network`);
}

const variables = "/var/lib/libvirt/qemu/nvram/web_VARS.fd";

/** A PC BIOS in flash stands for UEFI: what is beside it in flash is kept in a file of the host, and moves, in the same way. */
async function withFirmwareVariables(host: LabHost): Promise<void> {
  const loader = "<loader readonly='yes' type='pflash'>/usr/share/seabios/bios-256k.bin</loader>";
  const { stdout } = await host.virsh(["dumpxml", "web"]);
  await host.define(stdout.replace("<kernel>", `${loader}<nvram>${variables}</nvram><kernel>`));
  await host.exec(["bash", "-euc", `mkdir -p "$(dirname "$1")"; head -c 131072 /dev/urandom >"$1"`, "bash", variables]);
}

describe("every way to move a VM", () => {
  let site: Site;
  let guest: LabGuest;

  before(async () => {
    site = await startSite({ hosts: 2 });
    await site.godwit.run(["live-migration", "set", "--order", "migration,storage"]);
    const alpha = site.lab.host("alpha");
    guest = await site.lab.createGuest({ name: "web", host: alpha, memoryMiB: 160, extraDisks: [{ sizeMiB: 16, storage: "local" }] });
    await withFirmwareVariables(alpha);
    await guest.start(alpha);
    await guest.waitForAgent({ host: alpha });
    await eventually("the server sees the guest", async () => (await vmHost(site.godwit, "web").catch(() => "")) === "alpha running");
  });
  after(async () => site?.[Symbol.asyncDispose]());

  let kept: string | undefined;
  /** The firmware's variables are where the VM is, as they were in the beginning, and nowhere else. */
  const assertVariables = async (there: LabHost, gone: LabHost): Promise<void> => {
    const sum = (await there.exec(["sha256sum", variables])).stdout.slice(0, 64);
    assert.equal(sum, kept);
    assert.equal(await exists(gone, variables), false, `${gone.name} still has the firmware's variables`);
  };

  const disks = async (): Promise<Map<string, string>> =>
    new Map((await site.godwit.json<Vm>(["vm", "show", "web"])).disks.map((disk) => [disk.target, disk.source.path ?? ""]));

  it("live, with one disk shared, the other copied with what is below it, and another bridge there", async () => {
    const [alpha, bravo] = [site.lab.host("alpha"), site.lab.host("bravo")];
    kept = (await alpha.exec(["sha256sum", variables])).stdout.slice(0, 64);
    await bravo.exec(["bash", "-euc", `mkdir -p "$(dirname "$1")"; echo "of a VM that was there once" >"$1"`, "bash", variables]);
    const above = "/srv/local/above.qcow2";
    await alpha.virsh([
      "snapshot-create-as",
      "web",
      "--disk-only",
      "--no-metadata",
      "--diskspec",
      "vda,snapshot=no",
      "--diskspec",
      `vdb,file=${above}`,
    ]);
    await bravo.exec(["bash", "-c", "ip link add br-other type bridge && ip link set br-other up"]);
    const bridge = (await site.godwit.json<Vm>(["vm", "show", "web"])).nics[0]?.source ?? "";
    const result = await migrate(site.godwit, "web", "bravo", "--storage", "vdb=local", "--network", `${bridge}=br-other`);
    assert.deepEqual(
      (await site.godwit.json<Vm>(["vm", "show", "web"])).nics.map((nic) => nic.source),
      ["br-other"],
    );
    const { stdout } = await bravo.exec(["qemu-img", "info", "-U", "--output", "json", above]);
    assert.equal((JSON.parse(stdout) as Record<string, unknown>)["backing-filename"], undefined, "the chain was not made one image");
    assert.match((await bravo.virsh(["dumpxml", "web", "--inactive"])).stdout, /bridge='br-other'/);
    assert.equal(await exists(alpha, "/srv/local/web-vdb.qcow2"), true, "what is below may be used by others");
    await alpha.exec(["rm", "/srv/local/web-vdb.qcow2"]);
    assert.equal(result.kind, "shared-nothing");
    assert.equal(await assertOneWholeGuest(site.lab, guest), "bravo");
    await assertNothingLeft(guest, site.lab.host("alpha"));
    await assertVariables(bravo, alpha);
    assert.equal((await disks()).get("vdb"), above);
    assert.equal(await exists(alpha, above), false, "the original is still there");
  });

  it("disks only, while the guest runs, into another format, and back", async () => {
    const there = await site.godwit.json<Job>(["vm", "move-storage", "web:vda", "--to", "local", "--format", "raw"]);
    const result = there.result as StorageMoveResult;
    assert.deepEqual(
      result.disks.map(({ target, from, to, format }) => [target, from, to, format]),
      [["vda", "/srv/shared/web-vda.qcow2", "/srv/local/web-vda.raw", "raw"]],
    );
    assert.equal(result.running, true);
    assert.equal(await assertOneWholeGuest(site.lab, guest), "bravo");
    assert.equal(await exists(site.lab.host("bravo"), "/srv/shared/web-vda.qcow2"), false, "the original is still there");
    await site.godwit.run(["vm", "move-storage", "web", "--to", "shared", "--format", "qcow2"]);
    assert.deepEqual(
      [...(await disks())],
      [
        ["vda", "/srv/shared/web-vda.qcow2"],
        ["vdb", "/srv/shared/above.qcow2"],
      ],
    );
    assert.equal(await assertOneWholeGuest(site.lab, guest), "bravo");
  });

  it("quick over shared storage: the guest stands still and goes on as it was", async () => {
    const boot = async (): Promise<string> => (await guest.exec(["cat", "/proc/sys/kernel/random/boot_id"])).toString();
    const before = await boot();
    const result = await migrate(site.godwit, "web", "alpha", "--kind", "quick", "--carry-files", "--network", "br-other=br-guests");
    assert.equal(result.kind, "quick");
    assert.ok(result.pauseMs !== undefined && result.pauseMs > 0 && result.pauseMs <= result.totalMs);
    assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
    assert.equal(await boot(), before, "it was started anew");
    await assertNothingLeft(guest, site.lab.host("bravo"));
    const left = (await site.lab.host("alpha").exec(["ls", "/srv/shared"])).stdout;
    assert.doesNotMatch(left, /godwit-memory/);
  });

  it("quick with all its disks: each file arrives as it was read", async () => {
    await site.godwit.run(["vm", "move-storage", "web", "--to", "local"]);
    const result = await migrate(site.godwit, "web", "bravo", "--kind", "quick", "--carry-files", "--storage", "local");
    assert.equal(result.files?.length, 3);
    assert.ok(result.files?.every((file) => /^[0-9a-f]{64}$/.test(file.digest) && file.dataBytes <= file.bytes));
    assertCarried(result, "migration");
    assert.equal(await assertOneWholeGuest(site.lab, guest), "bravo");
    await assertNothingLeft(guest, site.lab.host("alpha"));
    assert.equal((await site.lab.host("alpha").exec(["ls", "/srv/local"])).stdout, "", "files were left on alpha");
    assert.doesNotMatch((await site.lab.host("bravo").exec(["ls", "/srv/local"])).stdout, /godwit-memory/);
    await assertVariables(site.lab.host("bravo"), site.lab.host("alpha"));
  });

  const tag = async (tags: string): Promise<void> => {
    const file = join(site.lab.dir, "cluster.yaml");
    await writeFile(file, `apiVersion: godwit/v1\nkind: Cluster\nplacement: { tags: [${tags}] }\n`);
    await site.godwit.run(["apply", "-f", file]);
  };

  it("cold, encrypted, with its disks, its firmware's variables, and the VM-Generation-ID that it needs", async () => {
    const [alpha, bravo] = [site.lab.host("alpha"), site.lab.host("bravo")];
    await site.godwit.run(["vm", "stop", "web", "--off"]);
    await tag("{ vms: [web], tags: [domain-controller] }");
    const result = await migrate(site.godwit, "web", "alpha", "--storage", "local", "--tls", "--carry-files");
    assert.equal(result.kind, "cold");
    assertCarried(result, "migration");
    await assertVariables(alpha, bravo);
    await tag("");
    const { stdout } = await alpha.virsh(["dumpxml", "web"]);
    assert.match(stdout, /<genid>[0-9a-f-]{36}<\/genid>/);
    // Firmware in flash excludes snapshots with memory.
    await alpha.define(
      [/<loader .*<\/loader>/, /<nvram>.*<\/nvram>/, /<genid>.*<\/genid>/].reduce((xml, part) => xml.replace(part, ""), stdout),
    );
    await site.godwit.run(["vm", "start", "web"]);
    await guest.waitForAgent({ host: alpha });
  });

  it("cold: definition, snapshots with their memory, autostart and disks", async () => {
    const [alpha, bravo] = [site.lab.host("alpha"), site.lab.host("bravo")];
    await alpha.virsh(["snapshot-create-as", "web", "with-memory"]);
    await alpha.virsh(["autostart", "web"]);
    await alpha.virsh(["desc", "web", "--config", "kept as it is"]);
    const live = await site.godwit.try(["vm", "migrate", "web", "--to", "bravo", "--storage", "local"]);
    assert.equal(live.code, 4);
    assert.match(live.stderr, /1 snapshot, which libvirt does not move while it runs/);
    await site.godwit.run(["vm", "stop", "web", "--off"]);
    const result = await migrate(site.godwit, "web", "bravo", "--storage", "local", "--carry-files");
    assertCarried(result, "migration");
    await assertNothingLeft(guest, alpha);
    assert.equal((await alpha.exec(["ls", "/srv/local"])).stdout, "", "files were left on alpha");
    assert.equal(await vmHost(site.godwit, "web"), "bravo off");
    assert.match((await bravo.virsh(["dominfo", "web"])).stdout, /Autostart:\s+enable/);
    assert.match((await bravo.virsh(["desc", "web"])).stdout, /kept as it is/);
    assert.match((await bravo.virsh(["snapshot-list", "web", "--name"])).stdout, /with-memory/);
    await bravo.virsh(["snapshot-revert", "web", "with-memory"]);
    assert.equal(await guest.state(bravo), "running");
    await bravo.virsh(["snapshot-delete", "web", "with-memory"]);
    await guest.waitForAgent({ host: bravo });
  });

  it("disks of a VM that is off, which is given a VM-Generation-ID before", async () => {
    const bravo = site.lab.host("bravo");
    assert.match(await site.godwit.run(["vm", "add-generation-id", "web"]), /has one from its next start on/);
    await site.godwit.run(["vm", "stop", "web", "--off"]);
    assert.match(await site.godwit.run(["vm", "add-generation-id", "web"]), /has one already/);
    await site.godwit.run(["vm", "move-storage", "web", "--to", "shared", "--format", "raw"]);
    assert.deepEqual([...(await disks()).values()], ["/srv/shared/web-vda.raw", "/srv/shared/above.raw"]);
    await site.godwit.run(["vm", "start", "web"]);
    await guest.waitForAgent({ host: bravo });
    assert.match((await bravo.virsh(["dumpxml", "web"])).stdout, /<genid>[0-9a-f-]{36}<\/genid>/);
  });
});
