import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import type { DrainPlan, Host, Job, MovesResult } from "@godwit/api";
import type { LabGuest, LabHost } from "@godwit/lab";
import { assertNoTraces, assertWholePoint, capturedOf, startVault } from "./support/captures.ts";
import {
  assertNothingLeft,
  assertOneWholeGuest,
  ended,
  eventually,
  isEnded,
  runGuest,
  showJob,
  type Site,
  startSite,
} from "./support/site.ts";

/** What is left of the way out of alpha, so that there is a middle of each move. */
const slowMbit = 160;

describe("a drain that is hit", () => {
  let site: Site;
  let alpha: LabHost;
  const guests: LabGuest[] = [];
  const named = (name: string): LabGuest => guests.find((guest) => guest.name === name) ?? assert.fail(name);

  before(async () => {
    site = await startSite({ hosts: 4 });
    alpha = site.lab.host("alpha");
    await site.godwit.run(["live-migration", "set", "--order", "migration,storage", "--max-parallel", "2"]);
    const common = { memoryMiB: 160, recordsPerSecond: 4, diskMiB: 64 };
    guests.push(await runGuest(site.lab, "web1", alpha, { ...common, extraDisks: [{ sizeMiB: 64 }] }));
    for (const name of ["web2", "mail"]) guests.push(await runGuest(site.lab, name, alpha, common));
    guests.push(await runGuest(site.lab, "files", alpha, { ...common, disk: "local" }));
  });
  after(async () => site?.[Symbol.asyncDispose]());

  /** Each begins with everybody on alpha, all hosts up, and no rules. */
  beforeEach(async () => {
    await rules("");
    await site.lab.faults.restoreLink(alpha, "migration");
    await eventually("all hosts are up", async () => {
      const hosts = await site.godwit.json<Host[]>(["host", "list"]);
      return hosts.every(({ state }) => state === "up");
    });
    if ((await maintenance()) !== undefined) await site.godwit.run(["host", "resume", "alpha", "--failback", "now"]);
    await eventually("all guests are seen on alpha", async () => {
      const vms = await site.godwit.json<{ name: string; host: string; state: string }[]>(["vm", "list"]);
      return guests.every(({ name }) => vms.some((vm) => vm.name === name && vm.host === "alpha" && vm.state === "running"));
    });
    await site.lab.faults.slowLink(alpha, "migration", { mbit: slowMbit });
  });

  const maintenance = async (): Promise<string | undefined> => (await site.godwit.json<Host>(["host", "show", "alpha"])).maintenance?.state;

  async function rules(text: string): Promise<void> {
    const file = join(site.lab.dir, "placement.yaml");
    await writeFile(file, `apiVersion: godwit/v1\nkind: Cluster\nplacement:\n  rules: [${text}]\n`);
    await site.godwit.run(["apply", "-f", file]);
  }

  /** Starts a drain, and gives its plan once that is made. */
  async function begin(...more: readonly string[]): Promise<{ readonly id: string; readonly plan: DrainPlan }> {
    const id = (await site.godwit.run(["host", "drain", "alpha", "--no-wait", ...more])).trim();
    const plan = await eventually("the plan is there", async () => {
      const job = await showJob(site.godwit, id);
      if (isEnded(job)) assert.fail(`the drain ended too early: ${JSON.stringify(job.error)}`);
      return job.steps.find(({ name, state }) => name === "plan 1" && state === "done")?.output;
    });
    return { id, plan: plan as DrainPlan };
  }

  /** Resolves with the running migration of a VM once some of its memory, or of its disks, is on the way. */
  async function underWay(vm: string): Promise<Job> {
    return await eventually(`${vm} is on its way`, async () => {
      const jobs = await site.godwit.json<Job[]>(["job", "list", "--state", "running"]);
      const job = jobs.find(({ kind, subject }) => kind === "vm.migrate" && subject.name === vm);
      return (job?.progress?.fraction ?? 0) > 0.05 && job;
    });
  }

  async function assertDrained(id: string, whole: readonly LabGuest[] = guests): Promise<MovesResult> {
    const job = await ended(site.godwit, id, 240_000);
    assert.equal(job.state, "done", JSON.stringify(job.error));
    assert.equal(await maintenance(), "drained");
    assert.equal((await alpha.virsh(["list", "--name"])).stdout.trim(), "");
    const hosts = await Promise.all(whole.map((guest) => assertOneWholeGuest(site.lab, guest)));
    const result = job.result as MovesResult;
    for (const [at, { name }] of whole.entries()) {
      const last = result.moves.findLast(({ vm, outcome }) => vm === name && outcome === "moved");
      assert.equal(last?.destination, hosts[at], name);
      assert.match(last?.proof ?? "", /^(alpha .* sent|not proven: no interface)/);
    }
    return result;
  }

  it("by a capture under way: it parks, the guest moves at once, and the capture goes on there", async () => {
    await startVault(site);
    await rules("{ name: first, vms: { names: [web1] }, priority: high }");
    const guest = named("web1");
    await guest.exec(["/bin/sh", "-c", "dd if=/dev/urandom of=/dev/vdb bs=1M count=32 2>/dev/null; sync"], { timeoutMs: 60_000 });
    const { acknowledged } = await guest.acknowledgements();
    const capture = (await site.godwit.run(["protect", "web1", "--vault", "main", "--no-wait", "--bandwidth", "1M"])).trim();
    await eventually("the disks are being read", async () => (await showJob(site.godwit, capture)).progress?.phase.startsWith("reading"));
    const { id, plan } = await begin();
    assert.ok(plan.possible, "a capture of Godwit's own keeps nobody");
    const { moves } = await assertDrained(id);
    assert.equal(moves.length, guests.length, "nobody had to be tried twice");
    const parked = await ended(site.godwit, capture);
    const { outcome, continuedBy } = parked.result as { outcome: string; continuedBy: string };
    assert.equal(outcome, "parked", JSON.stringify(parked));
    await site.godwit.run(["job", "cancel", continuedBy]);
    await ended(site.godwit, continuedBy);
    const whole = capturedOf(await site.godwit.json<Job>(["protect", "web1", "--vault", "main"]));
    await assertWholePoint(site, { ...whole, acknowledged });
    await assertNoTraces(guest, site.lab.host(whole.host));
  });

  it("by a rule that changes in the middle: who has not gone yet obeys it", async () => {
    const { id, plan } = await begin();
    const moves = plan.entries.filter(({ verdict }) => verdict === "move");
    const last = moves.findLast(({ vm }) => vm !== "files") ?? assert.fail("nobody moves");
    const other = ["bravo", "charlie", "delta"].find((name) => name !== last.destination) ?? "";
    await underWay(moves[0]?.vm ?? "");
    await rules(`{ name: late, vms: { names: [${last.vm}] }, possibleHosts: [alpha, ${other}] }`);
    const result = await assertDrained(id);
    const tried = result.moves.filter(({ vm }) => vm === last.vm).map(({ destination, outcome }) => `${destination} ${outcome}`);
    assert.deepEqual(tried, [`${last.destination} failed`, `${other} moved`]);
    assert.match(result.moves.find(({ vm, outcome }) => vm === last.vm && outcome === "failed")?.error?.message ?? "", /cannot move to/);
  });

  it("by a destination's storage that fills up: the copy goes, and the VM goes elsewhere with its disks", async () => {
    await rules("{ name: last, vms: { names: [files] }, priority: low }");
    const { id, plan } = await begin();
    const there = site.lab.host(plan.entries.find(({ vm }) => vm === "files")?.destination ?? "");
    await site.lab.faults.fillDisk(there);
    try {
      const { moves } = await assertDrained(id);
      const files = moves.filter(({ vm }) => vm === "files");
      assert.equal(files.at(-1)?.outcome, "moved");
      assert.notEqual(files.at(-1)?.destination, there.name);
      assert.equal((await there.exec(["bash", "-c", "ls /srv/local | grep files || true"])).stdout, "");
    } finally {
      await site.lab.faults.freeDisk(there);
    }
  });

  it("by a guest that ends in the middle of its move: it is off, on one host, and the drain is content", async () => {
    const { id, plan } = await begin();
    const first = plan.entries[0] ?? assert.fail("nobody moves");
    await underWay(first.vm);
    await alpha.virsh(["destroy", first.vm]);
    const others = guests.filter(({ name }) => name !== first.vm);
    const { left } = await assertDrained(id, others);
    assert.match(JSON.stringify(left), new RegExp(`${first.vm}.*does not run here any more`));
    const guest = named(first.vm);
    await assertNothingLeft(guest, site.lab.host(first.destination ?? ""));
    const start = await site.godwit.try(["vm", "start", first.vm]);
    assert.equal(start.code, 4, "nor does it start on a host in maintenance");
    await site.godwit.run(["host", "resume", "alpha", "--failback", "now"]);
    await site.godwit.run(["vm", "start", first.vm]);
    await guest.waitForAgent({ host: alpha });
  });

  it("by kill -9 of the server: the next one goes on, and ends with an empty host and whole guests", async () => {
    const { id } = await begin();
    await eventually("the first guest has moved", async () => (await showJob(site.godwit, id)).steps.some(({ name }) => name === "moves"));
    await site.killAndRestartServer();
    await assertDrained(id);
  });

  it("by a cut of one destination's link: nobody is lost, and only networks that the rules allow carry the rest", async () => {
    await rules("{ name: first, vms: { names: [files] }, priority: high }");
    const { id, plan } = await begin("--to", "bravo,charlie");
    const first = plan.entries[0] ?? assert.fail("nobody moves");
    assert.deepEqual([first.vm, first.kind], ["files", "shared-nothing"], "its mirror would wait for TCP");
    const there = site.lab.host(first.destination ?? "");
    await underWay(first.vm);
    await site.lab.faults.cutLink(there, "migration");
    try {
      const { moves } = await assertDrained(id);
      assert.ok(
        moves.some(({ outcome }) => outcome === "failed"),
        "the one under way was given up",
      );
      const over = new Set(moves.flatMap(({ outcome, network }) => (outcome === "moved" ? [network] : [])));
      for (const network of over) assert.ok(network === "migration" || network === "storage", network);
    } finally {
      await site.lab.faults.restoreLink(there, "migration");
      await site.godwit.run(["network", "probe"]);
    }
  });

  it("by two hosts that are lost at once: what was on its way to them runs on and goes to the third", async () => {
    await rules("{ name: apart, vms: { names: [web1, web2] }, keepApart: enforce, priority: high }");
    const { id, plan } = await begin();
    const [one, two] = plan.entries;
    assert.ok(one && two && one.destination !== two.destination, JSON.stringify(plan.entries));
    await Promise.all([underWay(one.vm), underWay(two.vm)]);
    await rules("");
    const lost = [one, two].map(({ destination }) => site.lab.host(destination ?? ""));
    for (const host of lost) await site.lab.faults.crashHost(host);
    const { moves } = await assertDrained(id);
    const third = ["bravo", "charlie", "delta"].find((name) => !lost.some((host) => host.name === name));
    for (const { destination, outcome } of moves) if (outcome === "moved") assert.equal(destination, third);
    assert.ok(moves.filter(({ outcome }) => outcome === "failed").length >= 2);
  });
});
