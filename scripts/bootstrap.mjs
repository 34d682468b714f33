// The one door of every npm script. It runs on whatever Node 20+ the machine has, brings in what is
// missing (Debian packages as root, npm packages) and hands over to the Node that the repository pins.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { arch } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stampDir = join(root, ".cache");

/** What each task runs, and which lists of Debian packages it needs. */
const tasks = {
  start: { script: "scripts/start.ts", packages: ["lab"] },
  test: { script: "scripts/test.ts", packages: ["lab", "stores"] },
  lab: { script: "packages/lab/src/main.ts", packages: ["lab"] },
  bench: { script: "bench/main.ts", packages: ["lab", "bench"] },
  record: { script: "scripts/record.ts", packages: ["lab"] },
  fuzz: { script: "scripts/fuzz.ts", packages: [] },
  ok: { script: "scripts/ok.ts", packages: [] },
  build: { script: "scripts/build.ts", packages: [] },
  generate: { script: "scripts/generate.ts", packages: [] },
  godwit: { script: "packages/cli/src/main.ts", packages: [] },
};

function fail(message) {
  process.stderr.write(`godwit: ${message}\n`);
  process.exit(1);
}

function run(command, args, options = {}) {
  return spawnSync(command, args, { cwd: root, encoding: "utf8", ...options });
}

function missingDebianPackages(names) {
  const lists = JSON.parse(readFileSync(join(root, "scripts/debian-packages.json"), "utf8"));
  const wanted = [...new Set(names.flatMap((name) => lists[name]))];
  const query = run("dpkg-query", ["-W", "-f", "${Package} ${db:Status-Status}\\n", ...wanted]);
  if (query.error) fail("this needs Debian 12 or later (no dpkg-query here); see docs/getting-started.md to use your own hosts");
  const installed = new Set(
    query.stdout
      .split("\n")
      .filter((l) => l.endsWith(" installed"))
      .map((l) => l.split(" ")[0]),
  );
  return wanted.filter((name) => !installed.has(name));
}

function ensureDebianPackages(names) {
  const missing = missingDebianPackages(names);
  if (missing.length === 0) return;
  const line = `apt-get install -y --no-install-recommends ${missing.join(" ")}`;
  if (process.getuid?.() !== 0) fail(`Debian packages are missing. As root: ${line}`);
  process.stderr.write(`godwit: installing Debian packages: ${missing.join(" ")}\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const log = join(stampDir, "apt.log");
  mkdirSync(stampDir, { recursive: true });
  for (const args of [["update"], line.split(" ").slice(1)]) {
    const result = run("apt-get", args, { env });
    writeFileSync(log, `${result.stdout}${result.stderr}`, { flag: "a" });
    if (result.status !== 0) fail(`'apt-get ${args[0]}' failed (${log} has it all): ${result.stderr.trim().split("\n").at(-1)}`);
  }
}

function ensureNpmPackages() {
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const stamp = join(root, "node_modules", ".godwit-lock");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  process.stderr.write("godwit: installing npm packages\n");
  // Not `npm ci`: it refuses a lock file that lacks the optional binaries of platforms we do not run on.
  const npm = run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"]);
  if (npm.status !== 0) fail(`'npm install' failed: ${npm.stderr.trim().split("\n").slice(-3).join(" ")}`);
  writeFileSync(stamp, lock);
}

function pinnedNode() {
  const path = join(root, "node_modules", `node-linux-${arch()}`, "bin", "node");
  if (!existsSync(path)) fail(`no pinned Node for this machine (${process.platform} ${arch()}): Linux on x64 or arm64 is needed`);
  return path;
}

function main() {
  const [name = "", ...args] = process.argv.slice(2);
  const task = tasks[name];
  if (!task) fail(`unknown task '${name}', one of: ${Object.keys(tasks).join(", ")}`);
  const major = Number(process.versions.node.split(".")[0]);
  if (major < 20) fail(`Node ${process.versions.node} is too old, 20 or later is needed to start`);
  if (task.packages.length > 0) ensureDebianPackages(task.packages);
  ensureNpmPackages();
  const child = spawn(
    pinnedNode(),
    ["--conditions=godwit-source", "--disable-warning=ExperimentalWarning", join(root, task.script), ...args],
    {
      stdio: "inherit",
      env: { ...process.env, GODWIT_ROOT: root },
    },
  );
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
}

main();
