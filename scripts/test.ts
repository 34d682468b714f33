/**
 * Every test, unit to lab. A test that is skipped, and a test file that ran no test, count as failures:
 * skipped is not passed.
 *
 *   npm test                   static checks, unit tests, lab tests
 *   npm test -- --unit         unit tests only
 *   npm test -- --lab          lab tests only
 *   npm test -- PATTERN …      only test files whose path contains a pattern
 */
import { globSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { checks, node, root, run, runAll } from "./run.ts";

interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly string[];
  readonly files: readonly string[];
}

function testFiles(kind: "unit" | "lab", patterns: readonly string[]): string[] {
  return globSync(["packages/*/test/**/*.test.ts", "test/**/*.test.ts"], { cwd: root })
    .filter((path) => path.endsWith(".lab.test.ts") === (kind === "lab"))
    .filter((path) => patterns.length === 0 || patterns.some((pattern) => path.includes(pattern)))
    .sort();
}

async function runTests(kind: "unit" | "lab", files: readonly string[]): Promise<Tally> {
  const report = join(root, ".cache", `report-${kind}-${process.pid}.jsonl`);
  mkdirSync(join(root, ".cache"), { recursive: true });
  rmSync(report, { force: true });
  const timeout = kind === "lab" ? 300_000 : 60_000;
  const code = await run(node[0]!, [
    ...node.slice(1),
    "--test",
    `--test-concurrency=${kind === "lab" ? 1 : 2}`,
    `--test-timeout=${timeout}`,
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    `--test-reporter=${join(root, "scripts/test-report.ts")}`,
    `--test-reporter-destination=${report}`,
    ...files,
  ]);
  const events = readFileSync(report, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { outcome: string; name: string; file: string });
  rmSync(report, { force: true });
  const failed = events.filter((event) => event.outcome === "fail").length;
  return {
    passed: events.filter((event) => event.outcome === "pass").length,
    failed: failed === 0 && code !== 0 ? 1 : failed,
    skipped: events.filter((event) => event.outcome === "skip").map((event) => `${event.file}: ${event.name}`),
    files: events.map((event) => event.file),
  };
}

function complain(kind: string, files: readonly string[], tally: Tally): number {
  const ran = new Set(tally.files.map((file) => (file.startsWith(root) ? file.slice(root.length + 1) : file)));
  const silent = files.filter((file) => !ran.has(file));
  for (const name of tally.skipped) process.stdout.write(`${kind} test skipped, which is not passed: ${name}\n`);
  for (const file of silent) process.stdout.write(`${kind} test file ran no test: ${file}\n`);
  return tally.failed + tally.skipped.length + silent.length;
}

async function main(args: readonly string[]): Promise<void> {
  const flags = args.filter((arg) => arg.startsWith("--"));
  const patterns = args.filter((arg) => !arg.startsWith("--"));
  const everything = flags.length === 0;
  if (everything && patterns.length === 0) await runAll(checks);
  let passed = 0;
  let failed = 0;
  for (const kind of ["unit", "lab"] as const) {
    if (!everything && !flags.includes(`--${kind}`)) continue;
    const files = testFiles(kind, patterns);
    if (files.length === 0) continue;
    const tally = await runTests(kind, files);
    passed += tally.passed;
    failed += complain(kind, files, tally);
  }
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
  process.exit(failed > 0 || passed === 0 ? 1 : 0);
}

await main(process.argv.slice(2));
