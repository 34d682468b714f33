import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "@godwit/core";
import { type Lab, type LabGuest, startLab } from "@godwit/lab";
import { whileFrozen } from "../../../src/adapters/libvirt/backup/freeze.ts";
import { openLibvirtHost, shellOf } from "../../../src/index.ts";

let lab: Lab;
let guest: LabGuest;

before(async () => {
  lab = await startLab({ hosts: 1 });
  const [host] = lab.hosts;
  assert.ok(host);
  guest = await lab.createGuest({ name: "web", host });
  await guest.start(host);
  await guest.waitForAgent({ host });
  await guest.waitForRecords(5);
});
after(async () => lab?.[Symbol.asyncDispose]());

it("is ended by the host itself when nobody else does, and the report says so", async () => {
  const [host] = lab.hosts;
  assert.ok(host);
  const signal = AbortSignal.timeout(60_000);
  const record = { name: host.name, uri: lab.uri(host) };
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined };
  await using hypervisor = await openLibvirtHost({ record, signal, log });
  await using shell = shellOf(record);
  assert.ok(shell);
  const { connection } = hypervisor;
  const dom = await hypervisor.lookup(guest.record.uuid, { signal });
  const freezing = { connection, dom, shell, clock: systemClock, vmId: guest.record.uuid, moment: "test" };
  const status = (): Promise<unknown> => connection.agentCommand(dom, { execute: "guest-fsfreeze-status" }, { signal });
  const { freeze } = await whileFrozen(freezing, signal, async () => {
    assert.equal(await status(), "frozen");
    // As if the server had died here: nothing of ours thaws it.
    while ((await status()) === "frozen") await sleep(200, undefined, { signal });
  });
  assert.equal(freeze.outcome, "broken");
  assert.ok(freeze.frozenMs > 5000, "it was not the timer that ended it");
  await guest.waitForRecords(5);
});
