import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { BalancePlan, ComparisonReport, CpuBaseline, ValidationReport } from "@godwit/api";
import { eventually, runGuest, type Site, startSite, vmHost } from "./support/site.ts";

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

  it("finds a link that was cut, and says what to do", async () => {
    for (const network of ["migration", "storage", "spare"] as const) await site.lab.faults.cutLink(site.lab.host("bravo"), network);
    await site.godwit.run(["network", "probe"]);
    const { stdout } = await site.godwit.try(["cluster", "validate"]);
    assert.match(stdout, /FAIL Cluster Networks, migration:.*\n\s+→ check cables/);
  });

  it("needs no balancing, and says why", async () => {
    const plan = await site.godwit.json<BalancePlan>(["cluster", "balance", "--dry-run", "--above", "99"]);
    assert.deepEqual(plan.moves, []);
    assert.match(plan.reason, /no host is more than 99 % full/);
  });
});
