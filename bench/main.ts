/** `npm run bench -- NAME`: runs `bench/NAME.bench.ts`; without a name, lists what there is. */
import { existsSync, globSync } from "node:fs";
import { join } from "node:path";

const [name, ...args] = process.argv.slice(2);
const here = import.meta.dirname;
const names = globSync("*.bench.ts", { cwd: here }).map((file) => file.replace(/\.bench\.ts$/, ""));
if (name === undefined || !existsSync(join(here, `${name}.bench.ts`))) {
  process.stderr.write(`usage: npm run bench -- ${names.join("|")}\n`);
  process.exit(2);
}
const bench = (await import(join(here, `${name}.bench.ts`))) as { default(args: readonly string[]): Promise<void> };
await bench.default(args);
