import type { Change, DoctorReport } from "@godwit/api";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { basename } from "node:path";
import { print } from "../context.ts";
import { CliError, exitCode } from "../exit.ts";
import { printable } from "../output/table.ts";
import type { AddCommands } from "./command.ts";

const signs = { add: "+", change: "~", remove: "-" } as const;

function changeLine(change: Change): string {
  const show = (value: unknown): string => (value === undefined ? "nothing" : JSON.stringify(value));
  const what = change.action === "change" ? `${show(change.before)} → ${show(change.after)}` : show(change.after ?? change.before);
  return printable(`${signs[change.action]} ${change.subject} (${change.path}): ${what}`);
}

const verdicts = { pass: "ok", warn: "warn", fail: "FAIL", "not-applicable": "–" } as const;

function reportTable(report: DoctorReport): string {
  const lines = report.sections.flatMap((section) => [
    `${section.subject}\n`,
    ...section.checks.map(
      (check) =>
        `  ${verdicts[check.verdict].padEnd(4)} ${check.id}: ${printable(check.text)}\n${check.remedy === undefined ? "" : `       → ${printable(check.remedy)}\n`}`,
    ),
  ]);
  return `${lines.join("")}${reportSummary(report)}\n`;
}

function reportSummary({ sections }: DoctorReport): string {
  const checks = sections.flatMap((section) => section.checks);
  const count = (verdict: keyof typeof verdicts): number => checks.filter((check) => check.verdict === verdict).length;
  const [failed, warned] = [count("fail"), count("warn")];
  if (failed + warned === 0) return "nothing wrong was found";
  const warnings = warned === 0 ? "" : `${failed === 0 ? "" : ", "}${warned} ${warned === 1 ? "warning" : "warnings"}`;
  return `${failed === 0 ? "" : `${failed} failed`}${warnings}: each arrow says what to do`;
}

async function readDocument(path: string): Promise<string> {
  try {
    return path === "-" ? await text(process.stdin) : await readFile(path, "utf8");
  } catch (cause) {
    throw new CliError(exitCode.usage, `cannot read ${path}`, { cause });
  }
}

export const addSystemCommands: AddCommands = (program, withContext) => {
  program
    .command("apply")
    .description("make hosts, networks and migration settings as a YAML file says")
    .requiredOption("-f, --file <path>", "the file, or - for standard input")
    .option("--dry-run", "only show the difference", false)
    .action(({ file, dryRun }: { file: string; dryRun: boolean }) =>
      withContext(async (context) => {
        const body = { document: await readDocument(file), fileName: file === "-" ? "standard input" : basename(file), dryRun };
        const result = await context.client.call("apply", { body, signal: context.signal });
        print(context, result, ({ changes }) => {
          if (changes.length === 0) return "nothing to change\n";
          const count = `${changes.length} ${changes.length === 1 ? "change" : "changes"}${dryRun ? " would be made" : " made"}`;
          return `${changes.map(changeLine).join("\n")}\n${count}\n`;
        });
      }),
    );
  program
    .command("doctor")
    .description("check the server's machine and every host, and say what to do")
    .action(() =>
      withContext(async (context) => {
        const report = await context.client.call("doctor", { signal: context.signal });
        print(context, report, reportTable);
        const failed = report.sections.flatMap((section) => section.checks).filter((check) => check.verdict === "fail").length;
        if (failed > 0) throw new CliError(exitCode.refused, `${failed} ${failed === 1 ? "check" : "checks"} failed`);
      }),
    );
};
