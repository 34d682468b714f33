/** Fails on any import against the table of packages, and on any npm package that is not declared. */
import { readFileSync, readdirSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

/** Who may import whom (architecture, "Packages"); tests may also use `core` and `lab`. */
const allowed: Record<string, readonly string[]> = {
  core: [],
  libvirt: ["core"],
  nbd: ["core"],
  disk: ["core"],
  vault: ["core"],
  engine: ["core", "libvirt", "nbd", "disk", "vault"],
  api: [],
  server: ["engine", "api", "core"],
  cli: ["api", "core", "vault", "disk", "nbd"],
  console: ["api"],
  lab: ["core"],
};
const testOnly = ["core", "lab"];

const importPattern =
  /(?:^|[\s;])(?:import|export)\s[^'"]*?from\s*["']([^"']+)["']|(?:^|[\s;])import\s*["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/g;

function sourceFiles(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(ts|tsx|mts)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !/\/(node_modules|dist)\//.test(path));
}

function checkImport(pkg: string, file: string, specifier: string, declared: Set<string>): string | undefined {
  const isTest = relative(join(root, "packages", pkg), file).startsWith("test");
  if (specifier.startsWith(".")) {
    const target = resolve(dirname(file), specifier);
    return target.startsWith(join(root, "packages", pkg) + "/") || (isTest && target.startsWith(join(root, "test") + "/"))
      ? undefined
      : `reaches outside its package: ${specifier}`;
  }
  if (specifier.startsWith("node:")) {
    return pkg === "api" && !isTest ? `runs in a browser and may not use ${specifier}` : undefined;
  }
  if (isBuiltin(specifier)) return `write node:${specifier}`;
  const ours = /^@godwit\/([^/]+)/.exec(specifier)?.[1];
  if (ours !== undefined) {
    if (ours === pkg || allowed[pkg]?.includes(ours) || (isTest && testOnly.includes(ours))) return undefined;
    return `may not import @godwit/${ours}`;
  }
  const name = specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
  return declared.has(name) || (isTest && name === "fast-check") ? undefined : `imports ${name}, which its package.json does not declare`;
}

function problemsOf(pkg: string): string[] {
  const manifest = JSON.parse(readFileSync(join(root, "packages", pkg, "package.json"), "utf8")) as {
    dependencies?: Record<string, string>;
  };
  const declared = new Set(Object.keys(manifest.dependencies ?? {}));
  const problems = allowed[pkg] === undefined ? [`packages/${pkg}: not in the table of scripts/check-layers.ts`] : [];
  for (const file of sourceFiles(join(root, "packages", pkg))) {
    for (const match of readFileSync(file, "utf8").matchAll(importPattern)) {
      const specifier = match[1] ?? match[2] ?? match[3] ?? "";
      const problem = checkImport(pkg, file, specifier, declared);
      if (problem !== undefined) problems.push(`${relative(root, file)}: ${problem}`);
    }
  }
  return problems;
}

const problems = readdirSync(join(root, "packages")).flatMap(problemsOf);
for (const problem of problems) process.stderr.write(`${problem}\n`);
if (problems.length > 0) process.exit(1);
process.stdout.write("layers: every import is allowed by the table\n");
