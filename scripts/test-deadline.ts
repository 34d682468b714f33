/**
 * Ends a test file that does not end: node's own limit is for each test, and a handle left open or a loop
 * without a pause outlives it. Loaded into every test process, with the limit in GODWIT_TEST_FILE_LIMIT_MS.
 */
import { writeSync } from "node:fs";
import { isMainThread, Worker, workerData } from "node:worker_threads";

interface Watched {
  /** Tells our thread from those of the test, which load this file, too. */
  readonly testFile: string;
  readonly limitMs: number;
}

if (isMainThread) {
  const limitMs = Number(process.env["GODWIT_TEST_FILE_LIMIT_MS"]);
  const file = process.argv[1];
  // The runner loads this, too; the variable is not for what the tests start.
  if (process.env["NODE_TEST_CONTEXT"] !== undefined && file !== undefined && limitMs > 0) {
    delete process.env["GODWIT_TEST_FILE_LIMIT_MS"];
    const watched: Watched = { testFile: file, limitMs };
    // A thread of its own: it fires also when the file never lets go of the main one.
    new Worker(new URL(import.meta.url), { workerData: watched, execArgv: [] }).unref();
  }
} else {
  const watched = workerData as Partial<Watched> | null;
  if (watched?.testFile !== undefined && watched.limitMs !== undefined) killLater(watched.testFile, watched.limitMs);
}

function killLater(file: string, limitMs: number): void {
  setTimeout(() => {
    writeSync(2, `test file ended by force, it ran for more than ${limitMs / 1000} s: ${file}\n`);
    process.kill(process.pid, "SIGKILL");
  }, limitMs);
}
