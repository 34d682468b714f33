/**
 * Runs fuzz targets for a while: `npm run fuzz -- [PACKAGE/TARGET …] [--seconds N] [--seed N]`. Without a
 * name, all of them. A finding prints its seed and ends with exit code 1.
 */
import { globSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./run.ts";

interface Target {
  default(options: { seconds: number; seed: number }): Promise<{ cases: number }>;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: "string", default: "30" }, seed: { type: "string", default: String(Date.now() % 2 ** 31) } },
});
const all = globSync("packages/*/fuzz/*.fuzz.ts", { cwd: root }).sort();
const nameOf = (path: string): string => path.replace(/^packages\/(.+)\/fuzz\/(.+)\.fuzz\.ts$/, "$1/$2");
const wanted = all.filter((path) => positionals.length === 0 || positionals.includes(nameOf(path)));
if (wanted.length === 0) {
  process.stderr.write(`no such fuzz target; there are ${all.map(nameOf).join(", ")}\n`);
  process.exit(2);
}
for (const path of wanted) {
  const target = (await import(join(root, path))) as Target;
  const seed = Number(values.seed);
  try {
    const { cases } = await target.default({ seconds: Number(values.seconds), seed });
    process.stdout.write(`${nameOf(path)}: ${cases} cases, seed ${seed}, nothing found\n`);
  } catch (error) {
    process.stderr.write(`${nameOf(path)}: seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  }
}
