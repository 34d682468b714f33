import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "@godwit/core";
import { type Lab, type LabGuest, startLab } from "@godwit/lab";
import { watchExport } from "../../../src/adapters/libvirt/backup/abandoned.ts";
import { type Freezing, whileFrozen } from "../../../src/adapters/libvirt/backup/freeze.ts";
import { type HostShell, libvirtBackup, openLibvirtHost, shellOf } from "../../../src/index.ts";

describe("a moment of a real guest", () => {
  let lab: Lab;
  let guest: LabGuest;
  let hypervisor: Awaited<ReturnType<typeof openLibvirtHost>>;
  let shell: HostShell;
  const signal = AbortSignal.timeout(280_000);

  before(async () => {
    lab = await startLab({ hosts: 1 });
    const [host] = lab.hosts;
    assert.ok(host);
    guest = await lab.createGuest({ name: "web", host });
    await guest.start(host);
    await guest.waitForAgent({ host });
    await guest.waitForRecords(5);
    const record = { name: host.name, uri: lab.uri(host) };
    const log = { debug: () => undefined, info: () => undefined, warn: () => undefined };
    hypervisor = await openLibvirtHost({ record, signal, log });
    const opened = shellOf(record);
    assert.ok(opened);
    shell = opened;
  });
  after(async () => {
    await shell?.[Symbol.asyncDispose]();
    await hypervisor?.[Symbol.asyncDispose]();
    await lab?.[Symbol.asyncDispose]();
  });

  async function freezing(moment: string): Promise<Freezing> {
    const dom = await hypervisor.lookup(guest.record.uuid, { signal });
    return { connection: hypervisor.connection, dom, shell, clock: systemClock, vmId: guest.record.uuid, moment };
  }

  async function status(): Promise<unknown> {
    const dom = await hypervisor.lookup(guest.record.uuid, { signal });
    return await hypervisor.connection.agentCommand(dom, { execute: "guest-fsfreeze-status" }, { signal, timeoutSeconds: 5 });
  }

  async function untilThawed(): Promise<void> {
    while ((await status().catch(() => undefined)) !== "thawed") await sleep(200, undefined, { signal });
  }

  it("is held by a freeze that the host itself ends when nobody else does, and the report says so", async () => {
    const { freeze } = await whileFrozen(await freezing("dead"), signal, async () => {
      assert.equal(await status(), "frozen");
      await untilThawed(); // as if the server had died here: nothing of ours thaws it
    });
    assert.equal(freeze.outcome, "broken");
    assert.ok(freeze.frozenMs > 5000, "it was not the timer that ended it");
    await guest.waitForRecords(5);
  });

  it("leaves no freeze behind when an agent that hung carries it out later", async () => {
    // The agent that could tell how the command ended hangs by then: the console tells.
    const hang = "kill -STOP $(pidof qemu-ga); echo the agent hangs >/dev/console; sleep 16; kill -CONT $(pidof qemu-ga)";
    const later = `(sleep 2; ${hang}) >/dev/null 2>&1 </dev/null &`;
    await guest.agent("guest-exec", { path: "/bin/sh", arg: ["-c", later] }, { host: guest.home });
    while (!(await console()).includes("the agent hangs")) await sleep(100, undefined, { signal });
    const { value, freeze } = await whileFrozen(await freezing("hung"), signal, async () => "taken");
    assert.deepEqual([value, freeze.outcome], ["taken", "refused"]);
    await untilThawed();
    await guest.waitForRecords(5, { timeoutMs: 60_000 });
  });

  it("leaves an export behind that the host itself ends when nobody reads it any more, and not before", async () => {
    const backup = libvirtBackup(hypervisor, shell);
    const vmId = guest.record.uuid;
    const place = { hostId: "alpha", moment: "left-alone", checkpoint: "godwit-left-alone" };
    const disks = [{ target: "vda", mode: "full" }] as const;
    const moment = await backup.begin(vmId, { ...place, disks, freeze: false, scratchBytes: 1 << 20 }, { signal });
    const { scratch } = moment;
    assert.ok(scratch);
    const uri = await hypervisor.connection.remote.connectGetUri({ signal });
    const times = { everySeconds: 1, silentSeconds: 4, scarceSeconds: 4 };
    await watchExport(shell, { moment: place.moment, vmId, uri, scratch }, { signal, times });
    for (let n = 0; n < 12; n += 1) {
      assert.ok(((await backup.scratchLeft(moment, { signal })) ?? 0) > 0);
      await sleep(500, undefined, { signal });
    }
    assert.equal((await backup.facts(vmId, { signal })).moment, place.moment, "it is read, and was ended");
    while ((await backup.facts(vmId, { signal })).moment !== undefined) await sleep(500, undefined, { signal });
    await guest.waitForRecords(5);
    await backup.end(vmId, place, { forget: true, signal });
    const files = "ls -d /run/godwit-left-alone* /var/lib/libvirt/qemu/domain-*/godwit-left-alone* 2>/dev/null";
    assert.equal((await guest.home.exec(["/bin/sh", "-c", files], { check: false })).stdout, "");
    assert.equal((await guest.home.exec(["pgrep", "-af", "[l]eft-alone"], { check: false })).stdout, "");
    assert.deepEqual((await backup.facts(vmId, { signal })).checkpoints, []);
  });

  async function console(): Promise<string> {
    return (await guest.home.exec(["cat", `/var/log/libvirt/${guest.name}-serial.log`])).stdout;
  }
});
