import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LabError } from "../error.ts";
import { run } from "../process.ts";
import type { Acknowledgement } from "./acknowledgements.ts";
import { type RecordsReport, verifyRecords } from "./verify.ts";

export interface VerifyImageOptions {
  readonly acknowledgements?: readonly Acknowledgement[];
  /** The image's format; default: what it looks like. */
  readonly format?: "qcow2" | "raw";
  readonly signal?: AbortSignal | undefined;
}

/**
 * Checks the records on a guest's data disk: a file that `qemu-img` can read, in use or not, restored or
 * original. The image is not changed: a copy of it gets its ext4 journal replayed, as the next mount
 * would do, and is read without mounting. Rejects with `failed` when there is no file system or no
 * records file.
 */
export async function verifyImage(path: string, options: VerifyImageOptions = {}): Promise<RecordsReport> {
  return verifyRecords(await readRecords(path, options), options.acknowledgements);
}

/** The records file of a guest's data disk. */
export async function readRecords(image: string, options: VerifyImageOptions = {}): Promise<Buffer> {
  return readImageFile(image, "/records", options);
}

/** Any file of an image that is one ext4 file system. */
export async function readImageFile(image: string, name: string, options: VerifyImageOptions = {}): Promise<Buffer> {
  const { signal } = options;
  const work = await mkdtemp(join(tmpdir(), "godwit-lab-"));
  try {
    const raw = join(work, "disk.raw");
    const out = join(work, "file");
    const format = options.format === undefined ? [] : ["-f", options.format];
    await run(["qemu-img", "convert", "-U", ...format, "-O", "raw", image, raw], { signal });
    // Exit status 1: the journal was replayed. More than that would show in what is read.
    await run(["e2fsck", "-y", "-E", "journal_only", raw], { signal, check: false });
    const { stderr } = await run(["debugfs", "-R", `dump ${name} ${out}`, raw], { signal });
    return await readFile(out).catch((cause: unknown) => {
      throw new LabError("failed", `no file ${name} in ${image}: ${stderr.trim().split("\n").at(-1)}`, {}, { cause });
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
