import { open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { BlockSink, BlockSource, Extent } from "@godwit/core";
import { FileImage, FileTarget, type Point, type PointDisk, diskOf, prepareThreads } from "@godwit/vault";
import { CliError, exitCode } from "../../exit.ts";
import { renderTable } from "../../output/table.ts";
import { formatBytes } from "../../output/units.ts";
import { openVault } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";
import { Meter } from "./meter.ts";
import { isNbdUri, shortId, splitPoint } from "./words.ts";

export interface RestoreFlags extends AccessFlags {
  readonly inPlace: boolean;
  readonly salvage: boolean;
}

interface Restored {
  readonly disk: string;
  readonly target: string;
  readonly size: number;
  readonly writtenBytes: number;
  readonly keptBytes: number;
  readonly damaged: readonly Extent[];
}

/** `godwit vault restore`. */
export async function restorePoint(text: string, target: string, flags: RestoreFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  const wanted = splitPoint(text);
  // They start on one core while another works the passphrase out.
  prepareThreads();
  await using opened = await openVault(flags, context);
  const point = await opened.vault.point(wanted.point, { signal });
  const results: Restored[] = [];
  for (const { disk, path } of await placesOf(point, wanted.disk, target)) {
    await using place = await openPlace(path, { point, disk, inPlace: flags.inPlace }, signal);
    using meter = new Meter(context.err);
    const { sink, present, blank } = place;
    const options = { signal, salvage: flags.salvage, blank, ...(present ? { present } : {}) };
    const result = await opened.vault.restore(point, disk.name, sink, {
      ...options,
      onProgress: ({ offset, size, writtenBytes }) => meter.show(disk.name, offset, size, `${formatBytes(writtenBytes)} written`),
    });
    await place.finish();
    results.push({ disk: disk.name, target: path, size: disk.size, ...result });
  }
  await show(context, results, restoreTable);
  if (results.some(({ damaged }) => damaged.length > 0)) {
    throw new CliError(exitCode.failed, "parts of the recovery point are damaged, and were left in the target as they were");
  }
}

function restoreTable(results: readonly Restored[]): string {
  const damaged = results.flatMap(({ disk, damaged: extents }) =>
    extents.map(({ offset, length }) => `  ${disk} is damaged at ${offset}, ${length} bytes\n`),
  );
  const table = renderTable(
    [
      { title: "DISK", value: (one) => one.disk },
      { title: "TARGET", value: (one) => one.target },
      { title: "SIZE", value: (one) => formatBytes(one.size), align: "right" },
      { title: "WRITTEN", value: (one) => formatBytes(one.writtenBytes), align: "right" },
      { title: "KEPT", value: (one) => formatBytes(one.keptBytes), align: "right" },
    ],
    results,
  );
  return table + damaged.join("");
}

async function kindOf(path: string): Promise<"none" | "file" | "directory" | "device"> {
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new CliError(exitCode.failed, `cannot look at ${path}`, { cause: error });
  });
  return info === undefined ? "none" : info.isDirectory() ? "directory" : info.isBlockDevice() ? "device" : "file";
}

/** Where each disk goes: one disk to the target itself, several to files in a directory. */
async function placesOf(point: Point, disk: string | undefined, target: string): Promise<{ disk: PointDisk; path: string }[]> {
  const toDirectory = !isNbdUri(target) && (await kindOf(target)) === "directory";
  if (!toDirectory) return [{ disk: diskOf(point, disk), path: target }];
  return (disk === undefined ? point.disks : [diskOf(point, disk)]).map((one) => {
    // Whoever wrote the point chose the name: it may not lead out of the directory.
    if (!/^[\w.-]+$/.test(one.name) || one.name.startsWith(".")) {
      throw new CliError(
        exitCode.usage,
        `disk ${JSON.stringify(one.name)} cannot name a file: restore it as POINT:DISK to a file of your choice`,
      );
    }
    return { disk: one, path: join(target, `${one.name}.raw`) };
  });
}

interface Place extends AsyncDisposable {
  readonly sink: BlockSink;
  /** What the target holds, where only differences are to be written. */
  readonly present: BlockSource | undefined;
  readonly blank: boolean;
  /** To be called when all is written. */
  finish(): Promise<void>;
}

interface Restoring {
  readonly point: Point;
  readonly disk: PointDisk;
  readonly inPlace: boolean;
}

async function openPlace(target: string, restoring: Restoring, signal: AbortSignal): Promise<Place> {
  if (isNbdUri(target)) return await openExport(target, restoring, signal);
  const kind = await kindOf(target);
  if (kind === "device" || (kind === "file" && restoring.inPlace)) return await openExisting(target, restoring);
  if (restoring.inPlace && kind === "none") throw new CliError(exitCode.notFound, `${target} is not there: --in-place changes what exists`);
  if (kind === "file" && (await stat(target)).size > 0) {
    throw new CliError(
      exitCode.refused,
      `${target} exists and is not empty: give --in-place to make it what the point holds, or choose another name`,
    );
  }
  return await openNew(target, restoring);
}

const nothing = (): Promise<void> => Promise.resolve();

async function openExport(target: string, { inPlace }: Restoring, signal: AbortSignal): Promise<Place> {
  const { openNbdSink, openNbdSource } = await import("@godwit/nbd");
  await using stack = new AsyncDisposableStack();
  const sink = stack.use(await openNbdSink(target, { signal, connections: 2 }));
  const present = inPlace ? stack.use(await openNbdSource(target, { signal })) : undefined;
  const owned = stack.move();
  return { sink, present, blank: false, finish: nothing, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function openExisting(path: string, { disk, inPlace }: Restoring): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const sink = stack.use(await FileTarget.open(path, disk.size, { keep: true }));
  const present = inPlace ? stack.use(await FileImage.open(path)) : undefined;
  const owned = stack.move();
  return { sink, present, blank: false, finish: nothing, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/**
 * A file gets its name when it is whole. Until then it has one that tells the point: an interrupted restore
 * is found again by it, and goes on.
 */
async function openNew(path: string, { point, disk }: Restoring): Promise<Place> {
  const part = `${path}.${shortId(point.id)}.part`;
  await using stack = new AsyncDisposableStack();
  const begun = (await kindOf(part)) === "file" && (await stat(part)).size === disk.size;
  const sink = await FileTarget.open(part, disk.size, { keep: true });
  // Nobody may go on from what the system could not store, however well it reads.
  stack.defer(async () => void (sink.doubtful && (await rm(part, { force: true }))));
  stack.use(sink);
  const present = begun && disk.size > 0 ? stack.use(await FileImage.open(part)) : undefined;
  const owned = stack.move();
  const finish = async (): Promise<void> => {
    await rename(part, path);
    await using folder = await open(dirname(path), "r");
    await folder.sync();
  };
  return { sink, present, blank: true, finish, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
