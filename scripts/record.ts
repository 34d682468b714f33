/**
 * Runs `npm start -- --once` and draws what it printed, as it printed it, as the picture in the README.
 *
 *   npm run record [-- FILE]        default docs/images/start.svg
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { terminalSvg } from "./terminal-svg.ts";
import { root } from "./run.ts";

const columns = 132;

async function printed(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, COLUMNS: String(columns) },
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
    process.stdout.write(chunk);
  });
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with exit code ${code}: nothing is recorded`);
  return text;
}

const target = process.argv[2] ?? join(root, "docs/images/start.svg");
const text = await printed("npm", ["start", "--silent", "--", "--once"]);
mkdirSync(dirname(target), { recursive: true });
writeFileSync(target, terminalSvg(`$ npm start -- --once\n${text}`, { columns, title: "npm start -- --once" }));
