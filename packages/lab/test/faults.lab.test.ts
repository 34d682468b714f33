import assert from "node:assert/strict";
import { copyFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { NetworkName } from "../src/addresses.ts";
import type { LabGuest } from "../src/guest/guest.ts";
import type { LabHost } from "../src/host.ts";
import type { Lab } from "../src/lab.ts";
import { run, until } from "../src/process.ts";
import { blockSize, lineSize } from "../src/records/format.ts";
import { readRecords, verifyImage } from "../src/records/offline.ts";
import { startLab } from "../src/start.ts";

let lab: Lab;
let alpha: LabHost;
let bravo: LabHost;
let guest: LabGuest;

before(async () => {
  lab = await startLab({ hosts: 2, localStorageMiB: 64 });
  [alpha, bravo] = [lab.host("alpha"), lab.host("bravo")];
  guest = await lab.createGuest({ name: "writer", host: alpha });
  await guest.start(alpha);
  await guest.waitForAgent({ host: alpha });
});
after(() => lab?.[Symbol.asyncDispose]());

/** Whether bravo's sshd answers alpha over a network; silence for some seconds is no answer. */
async function reaches(network: NetworkName, seconds = 20): Promise<boolean> {
  const command = `exec 3<>/dev/tcp/${bravo.addresses[network]}/22; read -r line <&3; [[ $line == SSH-* ]]`;
  const { code } = await alpha.exec(["timeout", `${seconds}`, "bash", "-c", command], { check: false });
  return code === 0;
}

async function hasCarrier(host: LabHost, network: NetworkName): Promise<boolean> {
  const { stdout } = await host.exec(["ip", "-o", "link", "show", host.interfaces[network]]);
  return stdout.includes("LOWER_UP");
}

/** `T` while it is stopped; see proc(5). */
async function processState(host: LabHost, pid: number | undefined): Promise<string> {
  const { stdout } = await host.exec(["cat", `/proc/${pid ?? 0}/stat`]);
  return stdout.slice(stdout.lastIndexOf(")") + 2)[0] ?? "";
}

/** Seconds until 600 kB from alpha have all reached bravo over the migration network. */
async function transferSeconds(): Promise<number> {
  const address = bravo.addresses.migration;
  const port = 50_000;
  const stop = new AbortController();
  const serving = bravo.exec(["nc", "-l", address, String(port)], { signal: stop.signal }).catch(() => undefined);
  try {
    const listening = async (): Promise<true | undefined> => {
      const { stdout } = await bravo.exec(["ss", "-Htln", `sport = :${port}`]);
      return stdout.includes(String(port)) ? true : undefined;
    };
    await until("the receiver listens", listening);
    const began = performance.now();
    // It ends when the receiver has closed, which has read everything then.
    await alpha.exec(["bash", "-c", `head -c 600000 /dev/zero | nc -N ${address} ${port}`]);
    return (performance.now() - began) / 1000;
  } finally {
    stop.abort();
    await serving;
  }
}

describe("links", () => {
  test("a cut one is silent both ways, leaves the carrier and the other networks, and heals", async () => {
    for (const _twice of [1, 2]) await lab.faults.cutLink(bravo, "migration");
    assert.deepEqual([await reaches("migration", 3), await reaches("storage")], [false, true]);
    assert.ok(await hasCarrier(bravo, "migration"));
    for (const _twice of [1, 2]) await lab.faults.restoreLink(bravo, "migration");
    assert.ok(await reaches("migration"));
  });

  test("an unplugged one loses its carrier, and gets it back", async () => {
    await lab.faults.cutLink(bravo, "migration", { unplug: true });
    assert.deepEqual([await hasCarrier(bravo, "migration"), await reaches("migration", 3)], [false, false]);
    await lab.faults.restoreLink(bravo, "migration");
    await until("the carrier is back", async () => ((await hasCarrier(bravo, "migration")) ? true : undefined));
    assert.ok(await reaches("migration"));
  });

  test("a slow one takes its time, and is fast again", async () => {
    for (const _twice of [1, 2]) await lab.faults.slowLink(bravo, "migration", { mbit: 4 });
    // 600 kB at 4 Mbit/s are 1.2 s, less what a full bucket lets through at once on either end.
    assert.ok((await transferSeconds()) > 0.8);
    await lab.faults.restoreLink(bravo, "migration");
    const { stdout } = await bravo.exec(["tc", "qdisc", "show", "dev", bravo.interfaces.migration]);
    assert.doesNotMatch(stdout, /tbf/);
    await assert.rejects(lab.faults.slowLink(bravo, "migration", { mbit: 0 }), { kind: "invalid" });
  });
});

describe("daemons and hosts", () => {
  test("a killed libvirtd is gone without its guests, and starts again with them", async () => {
    await lab.faults.killLibvirtd(alpha);
    assert.notEqual((await alpha.virsh(["uri"], { check: false })).code, 0);
    await guest.waitForRecords(2);
    await assert.rejects(lab.faults.killLibvirtd(alpha), { kind: "not-found" });
    for (const _twice of [1, 2]) await lab.faults.startLibvirtd(alpha);
    assert.equal(await guest.state(alpha), "running");
  });

  test("a stopped sshd answers nobody, and starts again", async () => {
    for (const _twice of [1, 2]) await lab.faults.stopSshd(bravo);
    assert.ok(!(await reaches("management")));
    for (const _twice of [1, 2]) await lab.faults.startSshd(bravo);
    assert.ok(await reaches("management"));
  });

  test("on a frozen host nothing goes on, its guest included; thawed it goes on where it was", async () => {
    const { libvirtd } = await alpha.pids();
    const qemu = Number(await alpha.exec(["cat", "/run/libvirt/qemu/writer.pid"]).then(({ stdout }) => stdout));
    for (const _twice of [1, 2]) await lab.faults.freezeHost(alpha);
    const still = async (): Promise<true | undefined> =>
      [await processState(alpha, libvirtd), await processState(alpha, qemu)].join("") === "TT" ? true : undefined;
    await until("both stand still, once what they were in the middle of has ended", still);
    for (const _twice of [1, 2]) await lab.faults.thawHost(alpha);
    assert.notEqual(await processState(alpha, qemu), "T");
    await guest.waitForRecords(2);
    const report = await guest.verifyLive({ host: alpha });
    assert.ok(report.ok, report.summary);
  });

  test("a full disk takes no byte more, keeps what it had, and is free again", async () => {
    const write = (): Promise<number> =>
      bravo
        .exec(["bash", "-c", "head -c 100000 /dev/zero >/srv/local/more && cat /srv/local/kept"], { check: false })
        .then(({ code }) => code);
    await bravo.exec(["bash", "-c", "echo before >/srv/local/kept"]);
    for (const _twice of [1, 2]) await lab.faults.fillDisk(bravo);
    assert.notEqual(await write(), 0);
    for (const _twice of [1, 2]) await lab.faults.freeDisk(bravo);
    assert.equal(await write(), 0);
    assert.equal((await bravo.exec(["cat", "/srv/local/kept"])).stdout, "before\n");
  });
});

describe("records", () => {
  test("a killed QEMU loses none that was acknowledged, and the guest goes on from there", async () => {
    await guest.waitForRecords(5);
    await lab.faults.killQemu(alpha, guest.name);
    await until("libvirt sees that it is off", async () => ((await guest.state(alpha)) === "shut off" ? true : undefined));
    await assert.rejects(lab.faults.killQemu(alpha, guest.name), { kind: "not-found" });
    const report = await guest.verifyOffline();
    assert.ok(report.ok && report.acknowledged.checked > 0, report.summary);
  });

  test("the verifier finds one that was torn on the disk, and one that was lost", async () => {
    const { acknowledged: acknowledgements } = await guest.acknowledgements();
    const image = join(lab.sharedDir, "writer-vda.qcow2");
    const raw = join(lab.sharedDir, "damaged.raw");
    const damage = async (number: number, spoil: (block: Buffer) => void): Promise<number[][]> => {
      await run(["qemu-img", "convert", "-O", "raw", image, raw]);
      await spoilRecord(raw, number, spoil);
      const report = await verifyImage(raw, { acknowledgements, format: "raw" });
      assert.ok(!report.ok, report.summary);
      return [[...report.torn], [...report.missing], [...report.lost]];
    };
    const number = acknowledgements.at(-1)!.number - 2;
    assert.deepEqual(await damage(number, (block) => block.fill("x", lineSize * 3, lineSize * 4)), [[number], [], [number]]);
    assert.deepEqual(await damage(number, (block) => block.fill(0)), [[], [number], [number]]);
    await copyFile(image, join(lab.sharedDir, "whole.qcow2"));
    assert.ok((await verifyImage(join(lab.sharedDir, "whole.qcow2"), { acknowledgements })).ok, "undamaged it is in order");
  });

  test("a crashed host is silent at once; booted it has its disks, and none of its faults", async () => {
    await guest.start(alpha);
    await guest.waitForAgent({ host: alpha });
    await guest.waitForRecords(5);
    await lab.faults.slowLink(alpha, "storage", { mbit: 1 });
    for (const _twice of [1, 2]) await lab.faults.crashHost(alpha);
    assert.ok(!alpha.isUp);
    await assert.rejects(alpha.exec(["true"]), { kind: "not-found" });
    const report = await guest.verifyOffline();
    assert.ok(report.ok && report.runs.length === 2, report.summary);
    await alpha.boot();
    assert.ok(await reaches("storage"));
    const { stdout } = await alpha.exec(["tc", "qdisc", "show", "dev", alpha.interfaces.storage]);
    assert.doesNotMatch(stdout, /tbf/);
    assert.equal(await guest.state(alpha), "shut off");
  });
});

/** Spoils a record in a raw image's file system. */
async function spoilRecord(raw: string, number: number, spoil: (block: Buffer) => void): Promise<void> {
  const records = await readRecords(raw, { format: "raw" });
  const at = ((number - 1) % guest.record.records!.slots) * blockSize;
  spoil(records.subarray(at, at + blockSize));
  const spoilt = `${raw}.records`;
  await writeFile(spoilt, records);
  await run(["e2fsck", "-y", "-E", "journal_only", raw], { check: false });
  await run(["debugfs", "-w", "-f", "-", raw], { input: `rm /records\nwrite ${spoilt} records\n` });
}
