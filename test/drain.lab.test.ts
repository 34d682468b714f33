import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { DrainPlan, Host, Job, MovesResult, Placement } from "@godwit/api";
import type { LabGuest } from "@godwit/lab";
import { assertOneWholeGuest, ended, eventually, isEnded, runGuest, showJob, type Site, startSite, vmHost } from "./support/site.ts";

describe("draining a host", () => {
  let site: Site;
  const guests: LabGuest[] = [];

  before(async () => {
    site = await startSite({ hosts: 3 });
    const alpha = site.lab.host("alpha");
    for (const name of ["web1", "web2", "mail"]) guests.push(await runGuest(site.lab, name, alpha, { recordsPerSecond: 5 }));
    guests.push(await runGuest(site.lab, "files", alpha, { disk: "local", recordsPerSecond: 5 }));
    await site.godwit.run(["live-migration", "set", "--order", "migration,storage"]);
    await where({ web1: "alpha", web2: "alpha", mail: "alpha", files: "alpha" });
  });
  after(async () => site?.[Symbol.asyncDispose]());

  /** Every named guest is seen running there. */
  async function where(expected: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, host] of Object.entries(expected)) {
      await eventually(`${name} is on ${host}`, async () => (await vmHost(site.godwit, name).catch(() => "")) === `${host} running`);
    }
  }

  async function rules(text: string): Promise<void> {
    const file = join(site.lab.dir, "placement.yaml");
    await writeFile(file, `apiVersion: godwit/v1\nkind: Cluster\nplacement:\n${text}\n`);
    await site.godwit.run(["apply", "-f", file]);
  }

  const maintenance = async (name: string): Promise<string | undefined> =>
    (await site.godwit.json<Host>(["host", "show", name])).maintenance?.state;

  it("names a guest that a rule keeps there, with the choice, before anything moves", async () => {
    await rules("  rules: [{ name: licence, vms: { names: [mail] }, possibleHosts: [alpha] }]");
    const { code, stderr } = await site.godwit.try(["host", "drain", "alpha"]);
    assert.equal(code, 4, stderr);
    assert.match(stderr, /mail: .*rule 'licence' lets mail run on alpha only/);
    assert.match(stderr, /→ .*possible hosts of rule 'licence'/);
    assert.equal(await maintenance("alpha"), undefined);
    await where({ web1: "alpha", web2: "alpha", mail: "alpha", files: "alpha" });
    const forced = await site.godwit.try(["vm", "migrate", "mail", "--to", "bravo"]);
    assert.equal(forced.code, 4);
    assert.match(forced.stderr, /licence/);
  });

  it("does what its dry run said: every guest to that host over that network, its disks with it, proven by bytes", async () => {
    await rules(
      "  rules: [{ name: webs, vms: { names: ['web*'] }, keepApart: enforce }, { name: post, vms: { names: [mail] }, preferredHosts: [charlie], priority: high }]",
    );
    const plan = await site.godwit.json<DrainPlan>(["host", "drain", "alpha", "--dry-run"]);
    assert.ok(plan.possible, JSON.stringify(plan.entries));
    assert.equal(plan.entries[0]?.vm, "mail");
    assert.equal(plan.entries.find(({ vm }) => vm === "files")?.kind, "shared-nothing");
    const job = await site.godwit.json<Job>(["host", "drain", "alpha"]);
    const result = job.result as MovesResult;
    const told = (moves: readonly { vm: string; destination?: string | undefined; network?: string | undefined }[]): string[] =>
      moves.map(({ vm, destination, network }) => `${vm} → ${destination} over ${network}`).sort();
    assert.deepEqual(told(result.moves), told(plan.entries));
    assert.equal(new Set(plan.entries.filter(({ vm }) => vm.startsWith("web")).map(({ destination }) => destination)).size, 2);
    for (const move of result.moves) {
      assert.equal(move.network, "migration");
      assert.match(move.proof ?? "", /^alpha migr0 sent .* over migration/);
    }
    assert.equal(await maintenance("alpha"), "drained");
    assert.equal((await site.lab.host("alpha").virsh(["list", "--name"])).stdout.trim(), "");
    for (const guest of guests) await assertOneWholeGuest(site.lab, guest);
  });

  it("lets nothing land on the host in maintenance", async () => {
    const { code, stderr } = await site.godwit.try(["vm", "migrate", "web1", "--to", "alpha"]);
    assert.equal(code, 4);
    assert.match(stderr, /in maintenance/);
    assert.match(stderr, /godwit host resume alpha/);
    const placed = await site.godwit.json<Placement>(["placement", "explain", "mail"]);
    assert.equal(placed.hosts.find(({ host }) => host === "alpha")?.verdict, "out");
    assert.notEqual(placed.host, undefined);
  });

  it("puts all of them back with resume --failback now", async () => {
    const job = await site.godwit.json<Job>(["host", "resume", "alpha", "--failback", "now"]);
    const { moves } = job.result as MovesResult;
    assert.deepEqual(moves.map(({ vm, destination, network }) => `${vm} ${destination} ${network}`).sort(), [
      "files alpha migration",
      "mail alpha migration",
      "web1 alpha migration",
      "web2 alpha migration",
    ]);
    assert.equal(await maintenance("alpha"), undefined);
    for (const guest of guests) assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
  });

  it("goes on after kill -9 of the server in the middle, and ends with an empty host and whole guests", async () => {
    const id = (await site.godwit.run(["host", "drain", "alpha", "--no-wait"])).trim();
    await eventually("the first guest has moved", async () => {
      const job = await showJob(site.godwit, id);
      assert.ok(!isEnded(job), JSON.stringify(job.error));
      return job.steps.some(({ name }) => name === "moves");
    });
    await site.killAndRestartServer();
    const job = await ended(site.godwit, id, 120_000);
    assert.equal(job.state, "done", JSON.stringify(job.error));
    assert.equal((await site.lab.host("alpha").virsh(["list", "--name"])).stdout.trim(), "");
    for (const guest of guests) await assertOneWholeGuest(site.lab, guest);
    const back = await site.godwit.json<Job>(["host", "resume", "alpha", "--failback", "now"]);
    assert.equal(back.state, "done");
    for (const guest of guests) assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
  });

  it("is not stopped by a guest that its user shuts down in the middle", async () => {
    await site.godwit.run(["live-migration", "set", "--max-parallel", "1"]);
    const id = (await site.godwit.run(["host", "drain", "alpha", "--no-wait"])).trim();
    const plan = await eventually("the plan is there", async () =>
      (await showJob(site.godwit, id)).steps.find(({ name, state }) => name === "plan 1" && state === "done"),
    );
    const last = (plan.output as DrainPlan).entries.filter(({ verdict }) => verdict === "move").at(-1)?.vm ?? "";
    await site.lab.host("alpha").virsh(["destroy", last]);
    const job = await ended(site.godwit, id, 120_000);
    assert.equal(job.state, "done", JSON.stringify(job.error));
    assert.match(JSON.stringify((job.result as MovesResult).left), new RegExp(last));
    assert.equal(await maintenance("alpha"), "drained");
    const start = await site.godwit.try(["vm", "start", last]);
    assert.equal(start.code, 4, "nor does it start on a host in maintenance");
  });
});
