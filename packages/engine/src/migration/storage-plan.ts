import { basename, extname, join } from "node:path";
import type { Check } from "../model/reason.ts";
import type { MovableDisk, SourceFacts } from "../ports/migration.ts";
import type { DiskCopy, PoolRoom } from "../ports/offline.ts";
import { fail, gib, pass } from "./checks.ts";
import { disksToCopy, whyNotCopied } from "./preflight-storage.ts";

/** Formats that an image may have afterwards. */
export const diskFormats = ["qcow2", "raw"] as const;
export type DiskFormat = (typeof diskFormats)[number];

export interface StorageFacts {
  readonly vm: SourceFacts;
  readonly host: string;
  /** Targets; absent: all that can be moved. */
  readonly disks?: readonly string[] | undefined;
  readonly pool: string;
  /** Absent: each keeps its own. */
  readonly format?: DiskFormat | undefined;
  readonly room: PoolRoom | undefined;
}

export interface StoragePlan {
  readonly copies: readonly DiskCopy[];
  readonly checks: readonly Check[];
}

/** Which images become which, and whether they may. `taken` says whether the pool has a file of a name. Pure. */
export function planStorageMove(facts: StorageFacts, taken: (name: string) => boolean): StoragePlan {
  const { vm, disks } = facts;
  const can = disksToCopy(vm.disks);
  const chosen = can.filter(({ target }) => disks === undefined || disks.includes(target));
  const unknown = (disks ?? []).filter((target) => !can.some((disk) => disk.target === target));
  const moving = chosen.filter((disk) => disks !== undefined || !isThere(disk, facts));
  const copies = moving.map((disk) => copyOf(disk, facts));
  const checks = [
    ...unknown.map((target) => fail("disk", whyNotCopied(vm.disks, vm.vm.name, target), `name one of ${names(can)}`)),
    ...state(facts),
    ...room(facts, moving),
    ...copies.flatMap((copy) => image(copy, facts, taken)),
    ...(moving.length === 0 && unknown.length === 0
      ? [fail("disk", `every disk is in ${facts.pool} already`, "name another pool or a format")]
      : []),
  ];
  return { copies, checks };
}

const names = (disks: readonly MovableDisk[]): string => disks.map(({ target }) => target).join(", ") || "none";

function isThere(disk: MovableDisk, { room, format }: StorageFacts): boolean {
  return room?.path !== undefined && join(room.path, basename(disk.path ?? "")) === disk.path && (format ?? disk.format) === disk.format;
}

/** A name that ends as its format does keeps doing so. */
function copyOf(disk: MovableDisk, { pool, room, format }: StorageFacts): DiskCopy {
  const { target, path: from = "", capacityBytes } = disk;
  const becomes = format ?? disk.format ?? "raw";
  const ending = extname(from);
  const name = ending === `.${disk.format ?? ""}` ? `${basename(from, ending)}.${becomes}` : basename(from);
  return { target, from, pool, name, to: join(room?.path ?? "", name), format: becomes, fromFormat: disk.format, capacityBytes };
}

function state({ vm, host }: StorageFacts): Check[] {
  const { name } = vm.vm;
  const checks: Check[] = [];
  if (vm.vm.state !== "running" && vm.vm.state !== "off")
    checks.push(fail("state", `${name} is ${vm.vm.state} on ${host}`, "let it run on, or shut it down"));
  else checks.push(pass("state", `${name} is ${vm.vm.state} on ${host}`));
  const busy = vm.disks.find((disk) => disk.blockJob !== undefined);
  if (vm.job !== undefined) checks.push(fail("job", `a ${vm.job} of ${name} is under way`, "wait until it has ended, or cancel it"));
  if (busy)
    checks.push(fail("job", `a block job (${busy.blockJob ?? ""}) runs on disk ${busy.target}`, "wait until it has ended, or abort it"));
  if (vm.snapshots.length > 0)
    checks.push(fail("snapshots", `${name} has ${vm.snapshots.length} snapshots, which a copied disk would not have`, "delete them first"));
  if (vm.savedMemory)
    checks.push(
      fail("memory-state", `the memory of ${name} was saved, and belongs to its disks as they are`, "start it, so that it resumes"),
    );
  return checks;
}

function room({ pool, room, host }: StorageFacts, moving: readonly MovableDisk[]): Check[] {
  if (!room) return [fail("storage-pool", `${host} has no storage pool '${pool}'`, "name one of 'godwit storage list'")];
  if (!room.active || room.path === undefined)
    return [fail("storage-pool", `the storage pool '${pool}' of ${host} is not an active one of files`, "start it, or name another")];
  const needed = moving.reduce((sum, disk) => sum + disk.capacityBytes, 0);
  const text = `the copies may grow to ${gib(needed)}, '${pool}' has ${gib(room.availableBytes)} free`;
  return [needed <= room.availableBytes ? pass("storage-pool", text) : fail("storage-pool", text, "free space, or name another pool")];
}

function image(copy: DiskCopy, { vm, pool }: StorageFacts, taken: (name: string) => boolean): Check[] {
  const disk = vm.disks.find(({ target }) => target === copy.target);
  const below = disk?.backing.length ?? 0;
  const checks: Check[] = [];
  if (copy.to === copy.from) checks.push(fail("disk", `disk ${copy.target} is ${copy.to} already`, "name another pool or another format"));
  else if (taken(copy.name))
    checks.push(fail("storage-pool", `'${pool}' already has a file ${copy.name}`, "remove or rename it if nothing uses it"));
  if (!diskFormats.some((format) => format === copy.format))
    checks.push(
      fail("disk", `disk ${copy.target} is ${copy.format}, which cannot be written`, `say --format ${diskFormats.join(" or --format ")}`),
    );
  if (below > 0)
    checks.push(pass("chain", `disk ${copy.target} becomes one image: what is below it is copied into it, and stays where it is`));
  return checks;
}
