import { EngineError } from "../../../model/errors.ts";
import {
  BaseLostError,
  type BackupDisk,
  type BackupFacts,
  type FreezeReport,
  type Moment,
  type MomentRequest,
} from "../../../ports/backup.ts";
import type { HostShell } from "../../../ports/shell.ts";
import type { Capturing } from "./pull.ts";
import { exportedDisk } from "./route.ts";
import { serveImage } from "./serve.ts";

/** `$1` is the moment: makes its folder, which only root can enter. */
const makeFolder = `command -v qemu-nbd >/dev/null 2>&1 && command -v qemu-img >/dev/null 2>&1 || { echo "the host lacks qemu-nbd or qemu-img: install qemu-utils" >&2; exit 3; }
umask 077; mkdir -p "/run/godwit-$1"`;

/** A moment of a VM that is off: its images as they are, read through qemu-nbd. */
export async function beginStill(
  { shell, clock }: Capturing,
  facts: BackupFacts,
  request: MomentRequest,
  signal: AbortSignal,
): Promise<Moment> {
  const made = await shell.run(["/bin/sh", "-c", makeFolder, "sh", request.moment], { signal });
  if (made.code !== 0) throw new EngineError("hypervisor", `${facts.name} cannot be captured while it is off: ${made.stderr.trim()}`);
  const paths = request.disks.flatMap(({ target }) => facts.disks.find((one) => one.target === target)?.path ?? []);
  const times = await modified(shell, paths, signal);
  const disks = [];
  for (const { target, mode } of request.disks) {
    const disk = facts.disks.find((one) => one.target === target);
    if (disk?.path === undefined) throw new EngineError("invalid", `${facts.name} has no disk ${target} that is a file or device`);
    const bitmap = mode === "incremental" ? request.base : undefined;
    if (bitmap !== undefined) await needBitmap(shell, disk, bitmap, signal);
    const { path, format = "raw" } = disk;
    const options = ["--read-only", ...(bitmap === undefined ? [] : [`--bitmap=${bitmap}`])];
    const image = { key: request.moment, target, path, format, options };
    const place = await serveImage(shell, image, request.route ?? { kind: "ssh" }, signal);
    disks.push(exportedDisk(place, target, mode, bitmap));
  }
  return {
    at: new Date(clock.now()).toISOString(),
    disks,
    freeze: off,
    touched: (options) => touched(shell, paths, times, options.signal),
  };
}

/** Paths come one a line: when each file was modified last, to the nanosecond, or nothing for what is no file. */
const modificationTimes = `while IFS= read -r path; do if [ -f "$path" ]; then stat -L -c %y "$path"; else echo; fi; done`;

async function modified(shell: HostShell, paths: readonly string[], signal: AbortSignal): Promise<string[]> {
  const stdin = paths.map((path) => `${path}\n`).join("");
  return (await shell.run(["/bin/sh", "-c", modificationTimes], { signal, stdin })).stdout.split("\n");
}

/** A VM that was started and stopped again while it was read is off afterwards, too. */
async function touched(
  shell: HostShell,
  paths: readonly string[],
  before: readonly string[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const now = await modified(shell, paths, signal);
  return paths.find((_, at) => now[at] !== before[at]);
}

const off: FreezeReport = { outcome: "held", frozenMs: 0, fileSystems: 0, text: "the VM was off, so nothing wrote to its disks" };

interface ImageInfo {
  readonly "format-specific"?: {
    readonly data?: { readonly bitmaps?: readonly { readonly name?: string; readonly flags?: readonly string[] }[] };
  };
}

/**
 * QEMU marks a list of changes as in use while it runs: after a crash the mark is still there, and the list has gaps.
 * One that is not `auto` was stopped at some time. Lists of images below this one know nothing of what it holds.
 */
async function needBitmap(shell: HostShell, { path = "" }: BackupDisk, name: string, signal: AbortSignal): Promise<void> {
  const { code, stdout } = await shell.run(["qemu-img", "info", "--output=json", "-U", path], { signal });
  const bitmaps = code === 0 ? ((JSON.parse(stdout) as ImageInfo)["format-specific"]?.data?.bitmaps ?? []) : [];
  const found = bitmaps.find((bitmap) => bitmap.name === name);
  if (found?.flags?.includes("auto") === true && !found.flags.includes("in-use")) return;
  throw new BaseLostError(`${path} has ${found ? "a damaged" : "no"} list of changes since ${name}`);
}
