/** Compiles every package to `dist/`, as it would be published. */
import { readdirSync } from "node:fs";
import { bin, runAll } from "./run.ts";

const projects = readdirSync("packages").map((name) => `packages/${name}`);
await runAll([["build", bin("tsc"), "-b", ...projects]]);
