import type { ComparisonReport, CpuBaseline, ValidationReport } from "@godwit/api";
import { writeFile } from "node:fs/promises";
import { type Context, print } from "../context.ts";
import { CliError, exitCode } from "../exit.ts";
import { followJob } from "../jobs.ts";
import { renderFields, renderTable } from "../output/table.ts";
import { validationPage } from "../output/validation-page.ts";
import type { AddCommands } from "./command.ts";

function baselineTable(baseline: CpuBaseline): string {
  const few = (features: readonly string[]): string =>
    features.length > 8 ? `${features.slice(0, 8).join(", ")} and ${features.length - 8} more` : features.join(", ");
  const hosts = renderTable(
    [
      { title: "HOST", value: (row) => row.host },
      { title: "CPU", value: (row) => row.model ?? row.problem },
      { title: "MAKER", value: (row) => row.vendor },
      { title: "BEYOND THE COMMON SET", value: (row) => few(row.beyond) || "nothing" },
    ],
    baseline.hosts,
  );
  const vms = baseline.vms.map(({ vm, host, beyond, text }) => `${vm} on ${host} has ${few(beyond)}: ${text}\n`);
  const document = baseline.document === undefined ? "" : `\nfor a VM's definition:\n${baseline.document.trim()}\n`;
  return [`${baseline.text}\n\n`, hosts, vms.length > 0 ? "\n" : "", ...vms, document].join("");
}

function comparisonTable(report: ComparisonReport): string {
  const lines = report.hosts.flatMap(({ host, compatible, findings }) => [
    `${host}: ${compatible ? "compatible" : "NOT compatible"}\n`,
    ...findings.map(
      ({ id, verdict, text, remedy }) => `  ${verdict.toUpperCase()} ${id}: ${text}\n${remedy === undefined ? "" : `    → ${remedy}\n`}`,
    ),
  ]);
  return `${report.vm} on ${report.host}\n\n${lines.join("")}`;
}

export function validationTable(report: ValidationReport): string {
  const table = renderTable(
    [
      { title: "CATEGORY", value: (test) => test.category },
      { title: "TEST", value: (test) => test.name },
      { title: "RESULT", value: (test) => test.verdict },
      { title: "CHECKS", value: (test) => test.checks.length, align: "right" },
    ],
    report.tests,
  );
  const bad = report.tests.flatMap(({ name, checks }) =>
    checks
      .filter(({ verdict }) => verdict === "fail" || verdict === "warn")
      .map(
        ({ id, verdict, text, remedy }) =>
          `${verdict.toUpperCase()} ${name}, ${id}: ${text}\n${remedy === undefined ? "" : `     → ${remedy}\n`}`,
      ),
  );
  const fields = renderFields([
    ["hosts", report.hosts.join(", ")],
    ["result", report.verdict],
  ]);
  return [fields, "\n", table, bad.length > 0 ? "\n" : "", ...bad].join("");
}

/** Waits until every pair of hosts was tried. What failed is part of the report; only a cancel ends it here. */
async function tryMigrations(context: Context): Promise<{ readonly trials: string }> {
  const job = await followJob(context, await context.client.call("clusterTryMigrations", { signal: context.signal }));
  if (job.state === "cancelled") throw new CliError(exitCode.cancelled, `${job.title}: cancelled`);
  return { trials: job.id };
}

/** Adds `validate` to the noun `cluster`, which must be there already. */
export const addValidationCommands: AddCommands = (program, withContext) => {
  const cpu = program.command("cpu").description("what CPUs hosts have in common");
  cpu
    .command("baseline")
    .description("the CPU that all hosts can give, what each has beyond it, and which VMs have more")
    .action(() =>
      withContext(async (context) => print(context, await context.client.call("cpuBaseline", { signal: context.signal }), baselineTable)),
    );
  cpu
    .command("compare <vm>")
    .description("everything that keeps a VM from other hosts (Compare-VM)")
    .option("--to <host>", "only with this host")
    .action((vm: string, flags: { to?: string }) =>
      withContext(async (context) => {
        const report = await context.client.call("vmCompare", { params: { vm }, body: flags, signal: context.signal });
        print(context, report, comparisonTable);
        if (!report.hosts.some(({ compatible }) => compatible))
          throw new CliError(exitCode.refused, `${report.vm} is compatible with none of them`);
      }),
    );
  const cluster = program.commands.find((command) => command.name() === "cluster") ?? program.command("cluster");
  cluster
    .command("validate")
    .description("test hosts, networks, storage, settings and CPUs (Test-Cluster)")
    .option("--html <file>", "also write the report as one page of HTML")
    .option("--migrate", "also move a tiny throw-away guest between every pair of hosts", false)
    .action((flags: { html?: string; migrate: boolean }) =>
      withContext(async (context) => {
        const trials = flags.migrate ? await tryMigrations(context) : {};
        const report = await context.client.call("clusterValidate", { body: trials, signal: context.signal });
        if (flags.html !== undefined) await writeFile(flags.html, validationPage(report));
        print(context, report, validationTable);
        if (report.verdict === "fail") throw new CliError(exitCode.refused, "the cluster does not pass: see what failed, and what to do");
      }),
    );
};
