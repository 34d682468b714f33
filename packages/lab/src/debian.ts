import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LabError } from "./error.ts";
import { cleanEnv, run, type RunResult } from "./process.ts";

/** Where downloaded and built things stay: `/var/cache/godwit-lab`, or below `XDG_CACHE_HOME` where that is set. */
export function cacheRoot(): string {
  const home = process.env["XDG_CACHE_HOME"];
  return home === undefined || home === "" ? "/var/cache/godwit-lab" : join(home, "godwit-lab");
}

/** apt wants these from the caller: proxies and its own configuration. */
const aptEnv: NodeJS.ProcessEnv = {
  ...cleanEnv,
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => /^(https?_proxy|no_proxy|APT_CONFIG)$/i.test(name))),
};

/**
 * Makes `<cache>/<key>` by `build`, which fills the folder it is given, unless it is there already.
 * Appears whole or not at all: any number of processes may do this at once, and be killed.
 */
export async function cached(key: string, build: (folder: string) => Promise<void>): Promise<string> {
  const root = cacheRoot();
  const final = join(root, key);
  if (await exists(final)) return final;
  await mkdir(root, { recursive: true });
  await removeDeadBuilds(root);
  const building = join(root, `.building-${process.pid}-${key}`);
  await rm(building, { recursive: true, force: true });
  await mkdir(building);
  try {
    await build(building);
    await rename(building, final).catch(async (error: unknown) => {
      if (!(await exists(final))) throw error; // somebody else was faster: theirs is as good
    });
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  return final;
}

async function removeDeadBuilds(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    const pid = /^\.building-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !(await exists(`/proc/${pid}`))) await rm(join(root, name), { recursive: true, force: true });
  }
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * `packages` and, of all that they depend on, what is `wanted` and reached through what is wanted; with
 * the versions that apt would download: `name=version`, sorted.
 */
export async function packageClosure(
  packages: readonly string[],
  wanted: (name: string) => boolean,
  signal: AbortSignal,
): Promise<string[]> {
  const memory = join(cacheRoot(), `versions-${packages.join("+")}.json`);
  const asOf = await listsChanged();
  const known = await readFile(memory, "utf8").then(
    (text) => JSON.parse(text) as { readonly asOf: string; readonly closure: string[] },
    () => undefined,
  );
  if (known?.asOf === asOf) return known.closure; // asking apt takes a second
  const closure = await askForClosure(packages, wanted, signal);
  await mkdir(cacheRoot(), { recursive: true });
  await writeFile(`${memory}.${process.pid}`, JSON.stringify({ asOf: await listsChanged(), closure }));
  await rename(`${memory}.${process.pid}`, memory);
  return closure;
}

/** Changes whenever apt may answer differently. */
async function listsChanged(): Promise<string> {
  const places = ["/var/lib/apt/lists", "/etc/apt", "/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/preferences.d"];
  const times = places.map((place) =>
    stat(place).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0,
    ),
  );
  return (await Promise.all(times)).join(" ");
}

async function askForClosure(packages: readonly string[], wanted: (name: string) => boolean, signal: AbortSignal): Promise<string[]> {
  const only = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"].map((kind) => `--no-${kind}`);
  const listed = await apt(["apt-cache", "depends", "--recurse", ...only, ...packages], signal);
  const names = reachable(listed.stdout, packages, wanted);
  const shown = await apt(["apt-cache", "show", "--no-all-versions", ...names], signal);
  const versions = [...shown.stdout.matchAll(/^Package: (\S+)\n(?:.+\n)*?Version: (\S+)$/gm)];
  return versions.map((match) => `${match[1]}=${match[2]}`).sort();
}

/** The packages reached from `roots` in the output of `apt-cache depends --recurse`. Virtual ones are left out. */
export function reachable(listing: string, roots: readonly string[], wanted: (name: string) => boolean): string[] {
  const needs = new Map<string, string[]>();
  let current: string[] = [];
  for (const line of listing.split("\n")) {
    const dependency = /^ [ |](?:Pre)?Depends: ([^<\s]\S*)/.exec(line)?.[1];
    if (/^[a-z0-9]/.test(line)) needs.set(line.trim(), (current = []));
    else if (dependency !== undefined) current.push(dependency);
  }
  const found = new Set(roots);
  for (const name of found) {
    for (const next of needs.get(name) ?? []) if (wanted(next) && needs.has(next)) found.add(next);
  }
  return [...found].sort();
}

/** Downloads packages (`name=version`) and unpacks them all into `folder`; nothing is installed or started. */
export async function unpackPackages(packages: readonly string[], folder: string, signal: AbortSignal): Promise<void> {
  const downloads = join(folder, ".debs");
  await mkdir(downloads, { recursive: true });
  await apt(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", ...packages], signal, true, downloads);
  for (const name of await readdir(downloads)) {
    await run(["dpkg-deb", "--extract", join(downloads, name), folder], { signal });
  }
  await rm(downloads, { recursive: true });
  // Later Debians have everything below /usr.
  for (const name of ["bin", "sbin", "lib"]) {
    if (!(await exists(join(folder, name))) && (await exists(join(folder, "usr", name)))) await symlink(`usr/${name}`, join(folder, name));
  }
}

/** Runs an apt command; when it fails, once more after `apt-get update`: a fresh machine has no lists. */
async function apt(argv: readonly string[], signal: AbortSignal, check = true, cwd = "/"): Promise<RunResult> {
  const options = { signal, cwd, env: aptEnv, timeoutMs: 300_000 };
  const first = await run(argv, { ...options, check: false });
  if (first.code === 0) return first;
  if (!check) return first;
  await run(["apt-get", "update", "-q"], options);
  const second = await run(argv, { ...options, check: false });
  if (second.code === 0) return second;
  throw new LabError("missing", `'${argv.slice(0, 3).join(" ")} …' failed: ${second.stderr.trim().split("\n").at(-1) ?? ""}`);
}
