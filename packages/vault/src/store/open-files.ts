import { type FileHandle, open } from "node:fs/promises";

interface Opened {
  readonly opening: Promise<FileHandle>;
  /** When it was opened, ms. */
  readonly since: number;
  users: number;
  retired: boolean;
}

const maxOpen = 16;
/** So that a file which somebody else deleted or exchanged is not read for long. */
const longest = 1000;

/** Files open for reading, kept for a moment: a restore reads a pack record by record. */
export class OpenFiles implements AsyncDisposable {
  readonly #files = new Map<string, Opened>();

  async use<T>(path: string, body: (file: FileHandle) => Promise<T>): Promise<T> {
    const opened = this.#take(path);
    opened.users += 1;
    try {
      return await body(await opened.opening);
    } catch (error) {
      this.forget(path, opened);
      throw error;
    } finally {
      opened.users -= 1;
      if (opened.retired && opened.users === 0) await close(opened);
    }
  }

  /** Opens the file anew next time. */
  forget(path: string, opened: Opened | undefined = this.#files.get(path)): void {
    if (!opened || opened.retired) return;
    opened.retired = true;
    if (this.#files.get(path) === opened) this.#files.delete(path);
    if (opened.users === 0) void close(opened);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#files.values()];
    for (const path of this.#files.keys()) this.forget(path);
    await Promise.all(all.map(({ opening }) => opening.catch(() => undefined)));
  }

  #take(path: string): Opened {
    const now = performance.now();
    const known = this.#files.get(path);
    if (known && now - known.since <= longest) return known;
    this.forget(path);
    const oldest = this.#files.keys().next();
    if (this.#files.size >= maxOpen && !oldest.done) this.forget(oldest.value);
    const opened = { opening: open(path, "r"), since: now, users: 0, retired: false };
    this.#files.set(path, opened);
    return opened;
  }
}

async function close({ opening }: Opened): Promise<void> {
  const file = await opening.catch(() => undefined);
  await file?.close();
}
