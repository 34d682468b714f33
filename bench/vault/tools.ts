import { link, mkdir, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Ran, run } from "./process.ts";

/** A backup tool under test: one fresh repository, one disk. */
export interface Tool {
  readonly name: string;
  /** Makes an empty repository. */
  init(): Promise<void>;
  put(image: string): Promise<Ran>;
  /** The latest, to a new file. */
  restore(target: string): Promise<Ran>;
  storedBytes(): Promise<number>;
}

export async function bytesUnder(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const sizes = entries.filter((entry) => entry.isFile()).map(async (entry) => (await stat(join(entry.parentPath, entry.name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

export const godwitCommand: string = resolve(import.meta.dirname, "../../godwit");

interface Places {
  readonly folder: string;
  readonly passphraseFile: string;
}

export async function makePlaces(folder: string): Promise<Places> {
  await mkdir(folder, { recursive: true });
  const passphraseFile = join(folder, "passphrase");
  await writeFile(passphraseFile, "correct horse battery staple\n");
  return { folder, passphraseFile };
}

export class GodwitTool implements Tool {
  readonly name: string;
  readonly location: string;
  readonly env: NodeJS.ProcessEnv;
  readonly #grid: string;
  readonly #compression: string;

  constructor({ folder, passphraseFile }: Places, { grid = "64K", compression = "fast" } = {}) {
    this.name = ["godwit", ...(grid === "64K" ? [] : [grid]), ...(compression === "fast" ? [] : [compression])].join(" ");
    this.#grid = grid;
    this.#compression = compression;
    this.location = join(folder, `godwit-${grid}-${compression}`);
    this.env = { GODWIT_VAULT: this.location, GODWIT_PASSPHRASE_FILE: passphraseFile };
  }

  async init(): Promise<void> {
    await rm(this.location, { recursive: true, force: true });
    await this.vault("init", "--grid", this.#grid);
  }

  async vault(...args: readonly string[]): Promise<Ran> {
    return await run(godwitCommand, ["vault", ...args], { env: this.env });
  }

  async put(image: string): Promise<Ran> {
    return await this.vault("put", "--name", "disk", "--compression", this.#compression, image);
  }

  async restore(target: string): Promise<Ran> {
    await rm(target, { force: true });
    return await this.vault("restore", "disk", target);
  }

  async storedBytes(): Promise<number> {
    return await bytesUnder(this.location);
  }
}

/** The peers want one path for all days: a link that is put over the last. */
async function present(folder: string, image: string): Promise<string> {
  const path = join(folder, "present", "disk.raw");
  await mkdir(join(folder, "present"), { recursive: true });
  await rm(`${path}.new`, { force: true });
  await link(image, `${path}.new`);
  await rename(`${path}.new`, path);
  // Touched, so that they must look at the content, as the image of a running machine always is.
  const now = new Date();
  await utimes(path, now, now);
  return path;
}

export class ResticTool implements Tool {
  readonly name = "restic";
  readonly #folder: string;
  readonly #repository: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor({ folder, passphraseFile }: Places) {
    this.#folder = folder;
    this.#repository = join(folder, "restic");
    this.#env = {
      RESTIC_REPOSITORY: this.#repository,
      RESTIC_PASSWORD_FILE: passphraseFile,
      RESTIC_CACHE_DIR: join(folder, "restic-cache"),
    };
  }

  async init(): Promise<void> {
    await rm(this.#repository, { recursive: true, force: true });
    await run("restic", ["init"], { env: this.#env });
  }

  async put(image: string): Promise<Ran> {
    return await run("restic", ["backup", "--quiet", await present(this.#folder, image)], { env: this.#env });
  }

  async restore(target: string): Promise<Ran> {
    await rm(target, { recursive: true, force: true });
    return await run("restic", ["restore", "--quiet", "--sparse", "latest", "--target", target], { env: this.#env }).catch(
      async () => await run("restic", ["restore", "--quiet", "latest", "--target", target], { env: this.#env }),
    );
  }

  async storedBytes(): Promise<number> {
    return await bytesUnder(this.#repository);
  }
}

export class BorgTool implements Tool {
  readonly name: string;
  readonly #folder: string;
  readonly #repository: string;
  readonly #chunker: readonly string[];
  readonly #env: NodeJS.ProcessEnv;
  #number = 0;

  constructor({ folder, passphraseFile }: Places, chunker?: string) {
    this.name = chunker === undefined ? "borg" : `borg ${chunker}`;
    this.#folder = folder;
    this.#repository = join(folder, `borg-${(chunker ?? "default").replaceAll(/\W/g, "-")}`);
    this.#chunker = chunker === undefined ? [] : ["--sparse", `--chunker-params=${chunker}`];
    const base = join(folder, "borg-home");
    this.#env = {
      BORG_REPO: this.#repository,
      BORG_PASSCOMMAND: `cat ${passphraseFile}`,
      BORG_BASE_DIR: base,
      BORG_RELOCATED_REPO_ACCESS_IS_OK: "yes",
    };
  }

  async init(): Promise<void> {
    await rm(this.#repository, { recursive: true, force: true });
    await rm(this.#env["BORG_BASE_DIR"]!, { recursive: true, force: true });
    await mkdir(this.#env["BORG_BASE_DIR"]!, { recursive: true });
    await run("borg", ["init", "--encryption=repokey-blake2"], { env: this.#env });
  }

  async put(image: string): Promise<Ran> {
    this.#number += 1;
    const args = ["create", "--compression=zstd,1", ...this.#chunker, `::p${this.#number}`, await present(this.#folder, image)];
    return await run("borg", args, { env: this.#env });
  }

  async restore(target: string): Promise<Ran> {
    await rm(target, { recursive: true, force: true });
    await mkdir(target);
    return await run("borg", ["extract", "--sparse", `::p${this.#number}`], { env: this.#env, cwd: target });
  }

  async storedBytes(): Promise<number> {
    return await bytesUnder(this.#repository);
  }
}
