import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { describeError } from "@godwit/core";
import { FileImage, type Vault } from "@godwit/vault";
import type { JobContext, JobKind } from "../../jobs/job.ts";
import { EngineError } from "../../model/errors.ts";
import type { ArchiveEnd, HostGuestFiles } from "../../ports/guest-files.ts";
import type { VmView } from "../../model/vm.ts";
import { serverSlot } from "../at-once.ts";
import type { Captures } from "../service.ts";
import {
  ARCHIVE_DISK,
  type FilesCaptured,
  type FilesCaptureInput,
  filesPointName,
  type FilesRecovered,
  type FilesRecoverInput,
} from "./model.ts";
import type { GuestFiles } from "./service.ts";

const mib = 1 << 20;

/**
 * The job that keeps files of a guest. The guest's archive goes through a file of the server's, which has no name any
 * more once it is whole: a vault wants to know how much will come. An attempt that follows a server's death begins anew.
 */
export function filesCaptureJob(files: GuestFiles): JobKind<FilesCaptureInput> {
  return {
    kind: "vm.capture-files",
    title: ({ vm, set, vault }) => `capture the files ${set} of ${vm} into ${vault}`,
    subject: ({ vmId, vm }) => ({ type: "vm", id: vmId, name: vm }),
    locks: ({ vmId }) => [`vm:${vmId}`],
    slots: () => [serverSlot("captures", files.options.captures.options.atOnce)],
    run: (context) => capture(files, context),
  };
}

async function capture(files: GuestFiles, context: JobContext<FilesCaptureInput>): Promise<FilesCaptured> {
  const { id, input, signal } = context;
  const { captures, spoolDir } = files.options;
  const spool = join(spoolDir, `files-${id}.tar`);
  // Should this attempt not come that far, nobody else knows of the file.
  await rm(spool, { force: true });
  await endEarlier(files, context);
  const { clock, vaults } = captures.options;
  const startedAt = clock.monotonic();
  const vm = await ready(captures, input.vmId, signal);
  const vault = await vaults.open(input.vaultId, { signal });
  const at = new Date(clock.now()).toISOString();
  try {
    const { warnings, size } = await packed(files, context, vm, spool);
    for (const text of warnings) await context.reason({ code: "warning", text });
    await using image = await FileImage.open(spool);
    await rm(spool);
    context.progress({ phase: "storing", diskTotalBytes: size });
    const point = await store(vault, input, { image, at, warnings }, signal);
    const { vmId, vault: into, set, paths } = input;
    const done = { vmId, vm: vm.name, host: vm.host, vault: into, pointId: point.id, set, paths, readBytes: size, warnings };
    const storedBytes = point.figures["storedBytes"] ?? 0;
    return { outcome: "files-captured", ...done, storedBytes, totalMs: Math.round(clock.monotonic() - startedAt) };
  } finally {
    await rm(spool, { force: true });
  }
}

async function store(
  vault: Vault,
  { vm, set, paths }: FilesCaptureInput,
  { image, at, warnings }: { readonly image: FileImage; readonly at: string; readonly warnings: readonly string[] },
  signal: AbortSignal,
): ReturnType<Vault["put"]> {
  const name = filesPointName(vm, set);
  const base = (await vault.points({ name, signal })).points.at(-1);
  const evidence = ["files were read one after the other while the guest ran, and nothing held them still", ...warnings];
  const request = { name, time: at, consistency: { level: "crash" as const, evidence }, reasons: paths.map((path) => `${path} of ${vm}`) };
  return await vault.put({ ...request, disks: [{ name: ARCHIVE_DISK, source: image }], ...(base && { base }) }, { signal });
}

/** Packs into the spool file, and takes the channel away however that ended. */
async function packed(
  files: GuestFiles,
  context: JobContext<FilesCaptureInput>,
  vm: VmView,
  spool: string,
): Promise<ArchiveEnd & { readonly size: number }> {
  const { id, input, signal } = context;
  const shared = files.options.captures.sharedPace(input);
  const host = files.host(vm.hostId);
  return await withChannel(host, vm.id, context, async () => {
    await using file = await open(spool, "w", 0o600);
    let size = 0;
    const end = await host.pack(
      vm.id,
      { id, paths: input.paths },
      async (piece) => {
        await shared?.take(piece.length, signal);
        await writeAll(file, piece);
        size += piece.length;
        context.progress({ phase: `the guest has sent ${Math.floor(size / mib)} MiB` });
      },
      { signal },
    );
    return { ...end, size };
  });
}

async function writeAll(file: FileHandle, piece: Uint8Array): Promise<void> {
  for (let done = 0; done < piece.length;) done += (await file.write(piece, done)).bytesWritten;
}

async function withChannel<T>(
  host: HostGuestFiles,
  vmId: string,
  { signal, stopping }: Pick<JobContext<FilesCaptureInput>, "signal" | "stopping">,
  body: () => Promise<T>,
): Promise<T> {
  await host.end(vmId, { signal });
  try {
    return await body();
  } finally {
    if (!stopping.aborted) await host.end(vmId, { signal: stopping });
  }
}

/** What a server that died had plugged in goes, even when the job has been cancelled meanwhile. */
async function endEarlier(files: GuestFiles, context: JobContext<FilesCaptureInput> | JobContext<FilesRecoverInput>): Promise<void> {
  const { input, attempt, stopping } = context;
  if (attempt === 1) return;
  try {
    const { hostId } = files.options.captures.place(input.vmId);
    await files.host(hostId).end(input.vmId, { signal: stopping });
  } catch (error) {
    stopping.throwIfAborted();
    await context.reason({
      code: "left-behind",
      text: `a channel may be left in ${input.vm}, the next capture of files removes it: ${describeError(error)}`,
    });
  }
}

async function ready(captures: Captures, vmId: string, signal: AbortSignal): Promise<VmView> {
  const vm = captures.place(vmId);
  const { state, agent } = await captures.backup(vm.hostId).facts(vmId, { signal });
  if (state !== "running") throw new EngineError("refused", `${vm.name} is ${state}: its files are reached only while it runs`);
  if (agent !== "connected") throw new EngineError("refused", `the agent of ${vm.name} is not connected: its files are reached through it`);
  return vm;
}

/** The job that brings files back into a guest. */
export function filesRecoverJob(files: GuestFiles): JobKind<FilesRecoverInput> {
  return {
    kind: "vm.recover-files",
    title: ({ vm, into }) => `recover files into ${into} of ${vm}`,
    subject: ({ vmId, vm }) => ({ type: "vm", id: vmId, name: vm }),
    locks: ({ vmId }) => [`vm:${vmId}`],
    slots: () => [serverSlot("recoveries", files.options.recoveriesAtOnce ?? 2)],
    run: (context) => recover(files, context),
  };
}

async function recover(files: GuestFiles, context: JobContext<FilesRecoverInput>): Promise<FilesRecovered> {
  const { id, input, signal, stopping } = context;
  const { captures } = files.options;
  await endEarlier(files, context);
  const { clock, vaults } = captures.options;
  const startedAt = clock.monotonic();
  await using opened = await vaults.openApart(input.vaultId, { signal });
  const point = await opened.vault.point(input.pointId, { signal });
  await using source = await opened.vault.openDisk(point, ARCHIVE_DISK, { signal });
  const vm = await ready(captures, input.vmId, signal);
  const host = files.host(vm.hostId);
  const progress = (bytes: number): void =>
    context.progress({
      phase: "sending",
      fraction: bytes / source.size,
      diskTotalBytes: source.size,
      diskRemainingBytes: source.size - bytes,
    });
  await withChannel(host, vm.id, { signal, stopping }, () =>
    host.unpack(vm.id, { id, into: input.into, source }, { signal, progress }).catch(async (error: unknown) => {
      signal.throwIfAborted();
      await context.reason({
        code: "half-unpacked",
        text: `${input.into} of ${vm.name} may hold some of the files only: ${describeError(error)}`,
      });
      throw error;
    }),
  );
  const { vault, into } = input;
  const done = { vm: vm.name, vault, pointId: point.id, at: point.time, into, bytes: source.size };
  return { outcome: "files-recovered", ...done, totalMs: Math.round(clock.monotonic() - startedAt) };
}
