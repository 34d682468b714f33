import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);

export interface Mounted extends AsyncDisposable {
  /** The file system's root, for this process; nobody else sees the mount. */
  readonly path: string;
}

/**
 * A new file system of a size in MiB. It is mounted in the namespace of a process that dies with this one, so
 * that whatever happens the mount and its loop device go. Needs root.
 */
export async function mountNew(kind: "ext4" | "xfs" | "tmpfs", mebibytes: number): Promise<Mounted> {
  const folder = await mkdtemp(join(tmpdir(), "godwit-mount-"));
  const image = join(folder, "image");
  const point = join(folder, "mounted");
  await writeFile(image, "");
  await truncate(image, mebibytes << 20);
  if (kind !== "tmpfs") await execute(`mkfs.${kind}`, ["-q", image]);
  const mount = kind === "tmpfs" ? `mount -t tmpfs -o size=${mebibytes}m none "$1"` : `mount -o loop "$0" "$1"`;
  const script = `mkdir "$1" && ${mount} && echo mounted && exec sleep infinity`;
  const args = ["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "sh", "-c", script, image, point];
  const keeper = spawn("setpriv", args, { stdio: ["ignore", "pipe", "inherit"] });
  const [first] = (await Promise.race([once(keeper.stdout, "data"), once(keeper, "exit")])) as [unknown];
  if (!Buffer.isBuffer(first)) throw new Error(`cannot mount a new ${kind}: ${String(first)}`);
  return {
    path: `/proc/${keeper.pid}/root${point}`,
    [Symbol.asyncDispose]: async () => {
      await end(keeper);
      await rm(folder, { recursive: true });
    },
  };
}

async function end(keeper: ChildProcess): Promise<void> {
  const ended = once(keeper, "exit");
  keeper.kill("SIGKILL");
  await ended;
}
