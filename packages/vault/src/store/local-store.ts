import { randomBytes } from "node:crypto";
import { link, mkdir, open, readdir, rename, rm, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type BlobInfo, type BlobStore, checkBlobName, checkBlobPrefix, isNotFound, type PutOptions, StoreError } from "./blob-store.ts";
import { codeOf, DirectorySync, readAt, storeErrorOf, writeAll, writeSteadily } from "./local-files.ts";
import { OpenFiles } from "./open-files.ts";

export interface LocalStoreOptions {
  readonly signal: AbortSignal;
  /** Make the directory when it is not there. */
  readonly create?: boolean;
  /** Whether the file system has hard links; found out by the first put where not given. */
  readonly hardLinks?: boolean;
}

/** No object's name, as those have no dots. */
const temporaryFolder = ".tmp";
/** What is older than this, by the storage's clock, belongs to nobody any more. */
const abandonedAfter = 3_600_000;
const statsAtOnce = 32;
const attempts = 4;
const claimLooks = 100;
const claimLookEvery = 20;
const noLinks = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EINVAL"]);

/**
 * Objects as files under a directory, on a local or a network file system, for any number of processes and
 * machines. An object is written to a temporary file, synced, linked to its name, and its directory synced.
 * Where there are no hard links (some SMB servers), a directory made under the object's name claims it.
 */
export class LocalStore implements BlobStore {
  readonly location: string;
  readonly enforcesRetention = false;
  readonly #sync = new DirectorySync();
  readonly #files = new OpenFiles();
  /** Directories that this store has made sure of. */
  readonly #made = new Map<string, Promise<void>>();
  #hardLinks: boolean;
  #swept = false;

  private constructor(location: string, hardLinks: boolean) {
    this.location = location;
    this.#hardLinks = hardLinks;
  }

  /** Throws `not-found` when there is no such directory, unless `create`. */
  static async open(path: string, { signal, create = false, hardLinks = true }: LocalStoreOptions): Promise<LocalStore> {
    signal.throwIfAborted();
    const location = resolve(path);
    try {
      const store = new LocalStore(location, hardLinks);
      if (create) await store.#makeRoot();
      if (!(await stat(location)).isDirectory()) throw new StoreError("failed", `${location} is not a directory`);
      return store;
    } catch (error) {
      if (codeOf(error) === "ENOENT") throw new StoreError("not-found", `there is no directory ${location}`, {}, { cause: error });
      throw storeErrorOf(error, `open ${location}`);
    }
  }

  async put(name: string, parts: readonly Uint8Array[], options: PutOptions): Promise<"created" | "exists"> {
    const { signal } = options;
    checkBlobName(name);
    signal.throwIfAborted();
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#put(name, parts, options);
      } catch (error) {
        signal.throwIfAborted();
        // A directory went that had become empty, or somebody took the temporary file for abandoned.
        if (codeOf(error) === "ENOENT" && attempt < attempts) this.#made.clear();
        else throw storeErrorOf(error, `store ${name} in ${this.location}`);
      }
    }
  }

  async get(name: string, { signal, maxBytes }: { readonly signal: AbortSignal; readonly maxBytes: number }): Promise<Uint8Array> {
    return await this.#reading(name, signal, async (path) => {
      await using file = await open(path, "r");
      const { size } = await file.stat();
      if (size > maxBytes) throw new StoreError("too-large", `${name} has ${size} bytes, at most ${maxBytes} were expected`);
      const bytes = Buffer.allocUnsafeSlow(size);
      return bytes.subarray(0, await readAt(file, 0, bytes));
    });
  }

  async read(name: string, offset: number, into: Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<number> {
    const readPart = (path: string): Promise<number> => this.#files.use(path, (file) => readAt(file, offset, into));
    return await this.#reading(name, signal, readPart);
  }

  pathOf(name: string): string {
    checkBlobName(name);
    return join(this.location, name);
  }

  async stat(name: string, { signal }: { readonly signal: AbortSignal }): Promise<BlobInfo | undefined> {
    try {
      return await this.#reading(name, signal, async (path) => await infoOf(name, path));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async *list(
    prefix: string,
    { signal, after = "" }: { readonly signal: AbortSignal; readonly after?: string },
  ): AsyncGenerator<BlobInfo, void, undefined> {
    checkBlobPrefix(prefix);
    yield* this.#walk(prefix, after, signal);
  }

  async delete(name: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    checkBlobName(name);
    signal.throwIfAborted();
    const path = join(this.location, name);
    this.#files.forget(path);
    try {
      await unlink(path);
      // Durable, as what is deleted after it counts on this one not coming back.
      await this.#sync.sync(dirname(path));
      await this.#removeEmpty(dirname(path));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw storeErrorOf(error, `delete ${name} in ${this.location}`);
    }
    signal.throwIfAborted();
  }

  extendRetention(name: string): Promise<void> {
    return Promise.reject(new StoreError("unsupported", `a directory cannot lock ${name} against deletion`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#files[Symbol.asyncDispose]();
  }

  async #put(name: string, parts: readonly Uint8Array[], options: PutOptions): Promise<"created" | "exists"> {
    const { signal } = options;
    const path = join(this.location, name);
    const folder = join(this.location, temporaryFolder);
    await Promise.all([this.#make(folder), this.#make(dirname(path))]);
    const temporary = join(folder, randomBytes(12).toString("hex"));
    try {
      await this.#writeTemporary(temporary, parts, options);
      const result = (await this.#appear(temporary, path, signal)) ? "created" : "exists";
      // Also for an object that was there: its maker may have died before it was durable.
      await this.#sync.sync(dirname(path));
      return result;
    } finally {
      await rm(temporary, { force: true }).catch(() => undefined);
    }
  }

  async #writeTemporary(path: string, parts: readonly Uint8Array[], { signal, steady = false }: PutOptions): Promise<void> {
    await using file = await open(path, "wx", 0o600);
    if (!this.#swept) {
      this.#swept = true;
      await this.#sweep((await file.stat()).mtimeMs, signal);
    }
    await (steady ? writeSteadily : writeAll)(file, parts, signal);
    await file.datasync();
    signal.throwIfAborted();
  }

  /** Gives a file its name, at once and whole; false when the name is taken. */
  async #appear(temporary: string, path: string, signal: AbortSignal): Promise<boolean> {
    if (this.#hardLinks) {
      try {
        await link(temporary, path);
        return true;
      } catch (error) {
        if (codeOf(error) === "EEXIST") return false;
        if (!noLinks.has(codeOf(error) ?? "")) throw error;
        this.#hardLinks = false;
      }
    }
    return await this.#appearByClaim(temporary, path, signal);
  }

  /** As `rename` overwrites, only who has made the claim may rename. */
  async #appearByClaim(temporary: string, path: string, signal: AbortSignal): Promise<boolean> {
    const claim = join(this.location, temporaryFolder, `claim.${path.slice(this.location.length + 1).replaceAll("/", ".")}`);
    for (let look = 0; ; look += 1) {
      try {
        await mkdir(claim, { mode: 0o700 });
        break;
      } catch (error) {
        if (codeOf(error) !== "EEXIST") throw error;
        if (await exists(path)) return false;
        if (look === claimLooks) {
          throw new StoreError("unavailable", `somebody else is storing ${path}, or died while doing so: try again later`);
        }
        await setTimeout(claimLookEvery, undefined, { signal });
      }
    }
    try {
      if (await exists(path)) return false;
      await rename(temporary, path);
      return true;
    } finally {
      await rmdir(claim).catch(() => undefined);
    }
  }

  /** Removes the temporary files and claims of writers that died. `now` is by the storage's clock. */
  async #sweep(now: number, signal: AbortSignal): Promise<void> {
    const folder = join(this.location, temporaryFolder);
    for (const name of await readdir(folder)) {
      signal.throwIfAborted();
      const path = join(folder, name);
      const info = await stat(path).catch(() => undefined);
      if (info && now - info.mtimeMs > abandonedAfter) await rm(path, { recursive: true, force: true });
    }
  }

  async #reading<T>(name: string, signal: AbortSignal, read: (path: string) => Promise<T>): Promise<T> {
    checkBlobName(name);
    signal.throwIfAborted();
    try {
      return await read(join(this.location, name));
    } catch (error) {
      throw storeErrorOf(error, `read ${name} in ${this.location}`);
    } finally {
      signal.throwIfAborted();
    }
  }

  async *#walk(folder: string, after: string, signal: AbortSignal): AsyncGenerator<BlobInfo, void, undefined> {
    signal.throwIfAborted();
    const entries = await this.#entries(folder);
    let files: string[] = [];
    for (const entry of entries) {
      const name = `${folder}${entry.name}`;
      if (entry.isFile() && name > after) files.push(name);
      if (files.length >= statsAtOnce || (!entry.isFile() && files.length > 0)) {
        yield* await this.#infos(files);
        files = [];
        signal.throwIfAborted();
      }
      // Everything below a folder sorts before `after` unless the folder's own name leads there or lies behind.
      if (entry.isDirectory() && (`${name}/` > after || after.startsWith(`${name}/`))) yield* this.#walk(`${name}/`, after, signal);
    }
    yield* await this.#infos(files);
  }

  async #entries(folder: string): Promise<{ readonly name: string; isFile(): boolean; isDirectory(): boolean }[]> {
    try {
      const entries = await readdir(join(this.location, folder), { withFileTypes: true });
      return entries.filter(({ name }) => /^[a-z0-9]+$/.test(name)).toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    } catch (error) {
      const gone = codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR";
      if (gone && (folder !== "" || (await exists(this.location)))) return [];
      throw storeErrorOf(error, `list ${folder} in ${this.location}`);
    }
  }

  async #infos(names: readonly string[]): Promise<BlobInfo[]> {
    const infos = await Promise.all(names.map((name) => infoOf(name, join(this.location, name)).catch(goneOr(name))));
    return infos.filter((info) => info !== undefined);
  }

  /** Makes a directory under the root and everything on the way, durably. */
  #make(path: string): Promise<void> {
    const made = this.#made.get(path);
    if (made) return made;
    const making = this.#makeNow(path);
    this.#made.set(path, making);
    making.catch(() => this.#made.delete(path));
    return making;
  }

  async #makeNow(path: string): Promise<void> {
    if (path === this.location) return;
    const parent = dirname(path);
    await this.#make(parent);
    try {
      await mkdir(path, { mode: 0o700 });
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    await this.#sync.sync(parent);
  }

  async #makeRoot(): Promise<void> {
    const first = await mkdir(this.location, { recursive: true, mode: 0o700 });
    if (first === undefined) return;
    for (let made = this.location; made.length >= first.length; made = dirname(made)) await this.#sync.sync(dirname(made));
  }

  /** Directories without objects would pile up: each batch of packs has one. */
  async #removeEmpty(folder: string): Promise<void> {
    // Those right under the root stay: everybody writes there all the time.
    for (let path = folder; path !== this.location && dirname(path) !== this.location; path = dirname(path)) {
      try {
        await rmdir(path);
      } catch {
        return;
      }
      this.#made.delete(path);
    }
  }
}

async function infoOf(name: string, path: string): Promise<BlobInfo> {
  const info = await stat(path);
  if (!info.isFile()) throw new StoreError("not-found", `${path} is no file`);
  return { name, size: info.size, modified: info.mtimeMs };
}

function goneOr(name: string): (error: unknown) => undefined {
  return (error) => {
    const mapped = storeErrorOf(error, `look at ${name}`);
    if (!isNotFound(mapped)) throw mapped;
    return undefined;
  };
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}
