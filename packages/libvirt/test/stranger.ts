import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const exec = promisify(execFile);
const root = resolve(import.meta.dirname, "../../..");

/** A folder where the package is installed as it would be published; nothing in it knows of the sources. */
export interface Stranger extends AsyncDisposable {
  readonly dir: string;
  /** Every file of the package, by its path. */
  readonly files: readonly string[];
  /** Runs an ES module there on plain Node, and resolves to what it printed. Rejects when it fails. */
  run(name: string, source: string): Promise<string>;
}

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

/** Builds and packs the package and what it needs of ours, and installs both; others come from the repository's node_modules. */
export async function installed(): Promise<Stranger> {
  await exec(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-b", join(root, "packages/libvirt")]);
  const dir = await mkdtemp(join(tmpdir(), "godwit-stranger-"));
  const modules = join(dir, "node_modules");
  await mkdir(join(modules, "@godwit"), { recursive: true });
  const ours = await Promise.all(["core", "libvirt"].map((name) => install(name, dir, join(modules, "@godwit", name))));
  const ssh2 = dirname(fileURLToPath(import.meta.resolve("ssh2/package.json")));
  await symlink(ssh2, join(modules, "ssh2"));
  return {
    dir,
    files: ours.at(-1)!.files.map(({ path }) => path),
    async run(name, source) {
      const file = join(dir, `${name}.mjs`);
      await writeFile(file, source);
      const { stdout } = await exec(process.execPath, [file], { cwd: dir, timeout: 120_000 });
      return stdout;
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

async function install(name: string, dir: string, into: string): Promise<Packed> {
  const { stdout } = await exec("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", dir, join(root, "packages", name)], {
    cwd: dir,
  });
  const [packed] = JSON.parse(stdout) as Packed[];
  await mkdir(into);
  await exec("tar", ["-xzf", join(dir, packed!.filename), "-C", into, "--strip-components=1"]);
  return packed!;
}

/** The JavaScript of a Markdown file, each with the heading that it stands under. */
export async function examplesOf(markdown: string): Promise<readonly { readonly heading: string; readonly source: string }[]> {
  const text = await readFile(markdown, "utf8");
  return [...text.matchAll(/^```js\n(.*?)^```$/gms)].map((match) => ({
    heading:
      text
        .slice(0, match.index)
        .match(/^## (.*)$/gm)
        ?.at(-1)
        ?.slice(3) ?? "",
    source: match[1] ?? "",
  }));
}
