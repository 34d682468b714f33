import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { BalancePlan, ComparisonReport, CpuBaseline, Job, ValidationReport, Vm } from "@godwit/api";
import { eventually, isEnded, runGuest, type Site, startSite, vmHost } from "./support/site.ts";

describe("a cluster of real hosts, looked at as a whole", () => {
  let site: Site;

  before(async () => {
    site = await startSite({ hosts: 2 });
    await runGuest(site.lab, "web", site.lab.host("alpha"));
    await eventually("the server sees the guest", async () => (await vmHost(site.godwit, "web").catch(() => "")) === "alpha running");
  });
  after(async () => site?.[Symbol.asyncDispose]());

  it("has a CPU in common, as libvirt names it, that a definition can take", async () => {
    const baseline = await site.godwit.json<CpuBaseline>(["cpu", "baseline"]);
    assert.match(baseline.document ?? "", /<model[^>]*>[^<]+<\/model>/, baseline.text);
    assert.ok(baseline.features.length > 10, baseline.text);
    assert.deepEqual(
      baseline.hosts.map(({ host, beyond, problem }) => [host, beyond, problem]),
      [
        ["alpha", [], undefined],
        ["bravo", [], undefined],
      ],
    );
    assert.deepEqual(baseline.vms, []);
  });

  it("compares a VM with the other hosts", async () => {
    const report = await site.godwit.json<ComparisonReport>(["cpu", "compare", "web"]);
    assert.deepEqual(
      report.hosts.map(({ host, compatible }) => [host, compatible]),
      [["bravo", true]],
    );
  });

  it("is tested in every category, in the terminal, as JSON and as a page", async () => {
    const page = join(site.lab.dir, "validation.html");
    const report = await site.godwit.json<ValidationReport>(["cluster", "validate", "--html", page]);
    const failed = report.tests.filter(({ verdict }) => verdict === "fail");
    assert.deepEqual(failed, []);
    const categories = new Set(report.tests.map(({ category }) => category));
    assert.equal(categories.size, 7);
    assert.equal(report.tests.find(({ name }) => name === "A Network Between Every Pair")?.checks.length, 2);
    assert.match(await readFile(page, "utf8"), /<title>Cluster validation of alpha, bravo<\/title>/);
    assert.match(await site.godwit.run(["cluster", "validate"]), /network\s+Cluster Networks\s+pass/);
  });

  const trialGuests = async (): Promise<string> =>
    (await Promise.all(site.lab.hosts.map((host) => host.virsh(["list", "--all", "--name"])))).map(({ stdout }) => stdout).join("");

  it("is really migrated over, both ways, by a tiny guest that nobody sees", async () => {
    await site.godwit.run(["live-migration", "set", "--order", "migration,storage"]);
    const report = await site.godwit.json<ValidationReport>(["cluster", "validate", "--migrate"]);
    const tried = report.tests.find(({ name }) => name === "Migration Really Tried");
    assert.equal(tried?.verdict, "pass", JSON.stringify(tried));
    assert.deepEqual(
      tried.checks.map(({ id }) => id),
      ["alpha → bravo", "bravo → alpha"],
    );
    for (const { text } of tried.checks)
      assert.match(text, /^over migration in \S+ s, with a pause of \d+ ms: \w+ migr0 sent .* over migration/);
    assert.doesNotMatch(await trialGuests(), /godwit-trial/);
  });

  it("leaves no such guest when the server is killed in the middle, and says so", async () => {
    await site.lab.faults.slowLink(site.lab.host("bravo"), "migration", { mbit: 0.3 });
    const killed = site.godwit.try(["cluster", "validate", "--migrate"]);
    await eventually("a guest is on its way", async () => (await trialGuests()).includes("godwit-trial"));
    assert.deepEqual(
      (await site.godwit.json<Vm[]>(["vm", "list"])).map(({ name }) => name),
      ["web"],
    );
    await site.killAndRestartServer();
    await killed;
    const [job] = await eventually("the job has ended", async () => {
      const jobs = (await site.godwit.json<Job[]>(["job", "list"])).filter(({ kind }) => kind === "cluster.try-migrations");
      return jobs.every(isEnded) && jobs;
    });
    assert.equal(job?.error?.kind, "interrupted");
    assert.doesNotMatch(await trialGuests(), /godwit-trial/);
    await site.lab.faults.restoreLink(site.lab.host("bravo"), "migration");
  });

  it("finds a link that was cut, and says what to do", async () => {
    for (const network of ["migration", "storage", "spare"] as const) await site.lab.faults.cutLink(site.lab.host("bravo"), network);
    await site.godwit.run(["network", "probe"]);
    const { stdout } = await site.godwit.try(["cluster", "validate"]);
    assert.match(stdout, /FAIL Cluster Networks, migration:.*\n\s+→ check cables/);
    await site.godwit.run(["live-migration", "set", "--exclude", "management"]);
    const tried = await site.godwit.try(["cluster", "validate", "--migrate"]);
    assert.match(
      tried.stdout,
      /FAIL Migration Really Tried, alpha → bravo: no network may carry a migration\n\s+→ see: godwit network list/,
    );
  });

  it("needs no balancing, and says why", async () => {
    const plan = await site.godwit.json<BalancePlan>(["cluster", "balance", "--dry-run", "--above", "99"]);
    assert.deepEqual(plan.moves, []);
    assert.match(plan.reason, /no host is more than 99 % full/);
  });
});
