/**
 * Every test, unit to lab. A test that is skipped, and a test file that ran no test, count as failures:
 * skipped is not passed.
 *
 *   npm test                   static checks, unit tests, lab tests
 *   npm test -- --unit         unit tests only
 *   npm test -- --lab          lab tests only
 *   npm test -- --long         only what takes too long for every change: *.long.test.ts
 *   npm test -- PATTERN …      only test files whose path contains a pattern
 *   GODWIT_SOAK_SECONDS=3600 npm test -- --lab soak      an hour of faults, captures and moves
 */
import { globSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { checks, node, root, run, runAll } from "./run.ts";

/** What the soak test is asked to go on for (test/soak.lab.test.ts); checking its points takes about as long again. */
const soakSeconds = 2 * Number(process.env["GODWIT_SOAK_SECONDS"] ?? 0);

/** Longest times, in seconds; a hanging test or file fails by name when its time is up. */
const limits = {
  unit: { test: 60, file: 180 },
  lab: { test: 300 + soakSeconds, file: 900 + soakSeconds },
  long: { test: 600, file: 1800 },
} as const;

type Kind = keyof typeof limits;

interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly string[];
  readonly files: readonly string[];
}

function kindOf(path: string): Kind {
  return path.endsWith(".lab.test.ts") ? "lab" : path.endsWith(".long.test.ts") ? "long" : "unit";
}

function testFiles(kind: Kind, patterns: readonly string[]): string[] {
  return globSync(["packages/*/test/**/*.test.ts", "test/**/*.test.ts"], { cwd: root })
    .filter((path) => kindOf(path) === kind)
    .filter((path) => patterns.length === 0 || patterns.some((pattern) => path.includes(pattern)))
    .sort();
}

async function runTests(kind: Kind, files: readonly string[]): Promise<Tally> {
  const report = join(root, ".cache", `report-${kind}-${process.pid}.jsonl`);
  mkdirSync(join(root, ".cache"), { recursive: true });
  rmSync(report, { force: true });
  const limit = limits[kind];
  const args = [
    ...node.slice(1),
    `--import=${join(root, "scripts/test-deadline.ts")}`,
    "--test",
    "--test-concurrency=2",
    `--test-timeout=${limit.test * 1000}`,
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    `--test-reporter=${join(root, "scripts/test-report.ts")}`,
    `--test-reporter-destination=${report}`,
    ...files,
  ];
  const env = { ...process.env, GODWIT_TEST_FILE_LIMIT_MS: String(limit.file * 1000) };
  const silence = watchSilence(report, limit.file + 60);
  const code = await run(node[0]!, args, { env, signal: silence.signal }).finally(silence.stop);
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

/**
 * Fires when the report has not grown for so long that a file's own deadline (test-deadline.ts) must have
 * failed to end the run: the runner waits for whoever holds a test's pipes, also when the test is dead.
 */
function watchSilence(report: string, seconds: number): { readonly signal: AbortSignal; stop(this: void): void } {
  const silent = new AbortController();
  let last = { size: 0, at: performance.now() };
  const timer = setInterval(() => {
    const size = statSync(report, { throwIfNoEntry: false })?.size ?? 0;
    if (size !== last.size) last = { size, at: performance.now() };
    if (performance.now() - last.at < seconds * 1000) return;
    process.stderr.write(`the test run is ended by force: no test ended for ${seconds} s\n`);
    silent.abort();
  }, 1000);
  return { signal: silent.signal, stop: () => clearInterval(timer) };
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
  for (const kind of ["unit", "lab", "long"] as const) {
    if (everything ? kind === "long" : !flags.includes(`--${kind}`)) continue;
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
