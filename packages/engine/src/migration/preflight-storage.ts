import { basename, dirname } from "node:path";
import type { Check } from "../model/reason.ts";
import type { CopyWish, MovableDisk, PoolThere, SourceFacts } from "../ports/migration.ts";
import { fail, gib, pass, warn } from "./checks.ts";
import type { MemoryFile, MigrationInput, SmallFile } from "./model.ts";
import type { PreflightFacts, Sharing } from "./preflight.ts";

/** Disks that can be copied: what the guest writes, in files. One that several guests write at once stays the one that it is. */
export function disksToCopy(disks: readonly MovableDisk[]): MovableDisk[] {
  return disks.filter(
    (disk) => disk.device === "disk" && disk.type === "file" && !disk.readOnly && !disk.shareable && disk.path !== undefined,
  );
}

/** What keeps a disk that was named from being copied. */
export function whyNotCopied(disks: readonly MovableDisk[], vm: string, target: string): string {
  return disks.some((disk) => disk.target === target && disk.shareable)
    ? `disk ${target} of ${vm} is shared with other VMs, which would go on with the original`
    : `${vm} has no disk ${target} in a file that could be copied`;
}

/** Which disks are copied where: those that were named, and with a pool for all every other one that can be. */
export function wishedCopies(
  disks: readonly MovableDisk[],
  { storagePool, storageByDisk = {} }: Pick<MigrationInput, "storagePool" | "storageByDisk">,
): CopyWish[] {
  return disksToCopy(disks).flatMap(({ target }) => {
    const pool = Object.hasOwn(storageByDisk, target) ? storageByDisk[target] : storagePool;
    return pool === undefined ? [] : [{ target, pool }];
  });
}

/** Every file that must be the same one on both hosts. What is below a disk that moves running is copied into it. */
export function filesToShare(vm: SourceFacts, copies: readonly CopyWish[], running: boolean): string[] {
  const copied = new Set(copies.map(({ target }) => target));
  const paths = vm.disks.flatMap((disk) => {
    if (disk.type !== "file" && disk.type !== "block") return [];
    const own = disk.path === undefined ? [] : [disk.path];
    if (!copied.has(disk.target)) return [...own, ...disk.backing];
    return running ? [] : disk.backing;
  });
  return [...new Set([...paths, ...vm.files])];
}

/** Where the memory of a guest waits while it is moved quickly: beside a disk that both hosts share, else beside one that is copied. */
export function memoryPlace(
  vm: SourceFacts,
  copies: readonly CopyWish[],
  shared: (path: string) => boolean,
): (Omit<MemoryFile, "copyTo"> & { readonly pool?: string; readonly name: string }) | undefined {
  const name = `${vm.vm.name}-${vm.vm.id.slice(0, 8)}.godwit-memory`;
  const both = vm.disks.find((disk) => disk.path !== undefined && disk.type === "file" && shared(disk.path));
  if (both?.path !== undefined) return { path: `${dirname(both.path)}/${name}`, name };
  const [copy] = copies;
  const disk = vm.disks.find(({ target }) => target === copy?.target);
  return disk?.path === undefined || !copy ? undefined : { path: `${dirname(disk.path)}/${name}`, pool: copy.pool, name };
}

export function storageChecks(facts: PreflightFacts): Check[] {
  return [...namedDisks(facts), ...copyChecks(facts), ...sharedFiles(facts)];
}

/** A disk that was named but cannot be copied. */
function namedDisks({ vm, storageByDisk = {} }: PreflightFacts): Check[] {
  const can = disksToCopy(vm.disks).map(({ target }) => target);
  return Object.keys(storageByDisk)
    .filter((target) => !can.includes(target))
    .map((target) => fail("storage", whyNotCopied(vm.disks, vm.vm.name, target), `name one of ${can.join(", ") || "none"}`));
}

function sharedFiles(facts: PreflightFacts): Check[] {
  const carried = facts.vm.files.filter((path) => isElsewhere(facts.sharing.get(path)));
  const others = filesToShare(facts.vm, facts.copies, facts.kind === "live").filter((path) => !carried.includes(path));
  return [...carried.map((path) => carriedFile(path, facts)), ...others.map((path) => sharedFile(path, facts))];
}

function isElsewhere(sharing: Sharing | undefined): boolean {
  return sharing === "missing" || sharing === "not-shared";
}

/** Small files that both hosts do not share: they are copied along. */
export function smallFiles({ files }: Pick<SourceFacts, "files">, sharing: ReadonlyMap<string, Sharing>): SmallFile[] {
  return files.filter((path) => isElsewhere(sharing.get(path))).map((path) => ({ path, replaces: sharing.get(path) === "not-shared" }));
}

function carriedFile(path: string, { there, destination, sharing }: PreflightFacts): Check {
  const other = there.filesOfOthers?.[path];
  if (other !== undefined)
    return fail("firmware", `${path} is what ${other} uses on ${destination.name}`, "give one of both another <nvram> in its definition");
  const replaced = sharing.get(path) === "not-shared" ? ", in place of one that no VM there uses" : "";
  return pass("firmware", `its firmware's variables (${path}) are copied along${replaced}`);
}

function sharedFile(path: string, { sharing, source, destination, copies, vm, kind }: PreflightFacts): Check {
  const below = vm.disks.some((disk) => disk.backing.includes(path) && copies.some(({ target }) => target === disk.target));
  const flatten = "make the disk one image first (godwit vm move-storage)";
  switch (sharing.get(path) ?? "unproven") {
    case "shared":
      return pass("storage", `${path} is the same file on ${source.name} and ${destination.name}`);
    case "missing":
      return fail("storage", `${destination.name} has no ${path}`, below ? flatten : "share it, or copy the disks with --storage POOL");
    case "not-shared":
      return fail(
        "storage",
        `${path} on ${destination.name} is another file than on ${source.name}`,
        below ? flatten : "copy the disks with --storage POOL",
      );
    case "unproven":
      if (kind !== "live")
        return fail("storage", `whether ${path} is shared could not be proven`, "give Godwit SSH access to both hosts, or move it live");
      return warn(
        "storage",
        `whether ${path} is shared could not be proven`,
        "give Godwit SSH access to both hosts; libvirt decides whether it is safe",
      );
  }
}

function copyChecks(facts: PreflightFacts): Check[] {
  const { vm, copies, storagePool } = facts;
  if (copies.length === 0)
    return storagePool === undefined
      ? []
      : [fail("storage-pool", `${vm.vm.name} has no disk in a file that could be copied`, "leave --storage out")];
  const pools = [...new Set(copies.map(({ pool }) => pool))];
  return [...pools.flatMap((pool) => poolChecks(pool, facts)), ...sameNames(facts), ...chains(facts)];
}

function poolChecks(name: string, { vm, there, copies, destination, kind }: PreflightFacts): Check[] {
  const found: PoolThere | undefined = there.pools.find((pool) => pool.name === name);
  if (!found?.present)
    return [fail("storage-pool", `${destination.name} has no storage pool '${name}'`, "name one of 'godwit storage list'")];
  if (!found.active || found.path === undefined)
    return [
      fail("storage-pool", `the storage pool '${name}' of ${destination.name} is not an active one of files`, "start it, or name another"),
    ];
  const targets = copies.filter(({ pool }) => pool === name).map(({ target }) => target);
  const disks = vm.disks.filter(({ target }) => targets.includes(target));
  const memory = kind === "quick" ? vm.vm.memoryBytes : 0;
  const needed = disks.reduce((sum, disk) => sum + disk.capacityBytes, memory);
  const room = `the copies may grow to ${gib(needed)}, '${name}' has ${gib(found.availableBytes)} free`;
  return [
    needed <= found.availableBytes ? pass("storage-pool", room) : fail("storage-pool", room, "free space, or name another pool"),
    ...found.taken.map((file) =>
      fail("storage-pool", `'${name}' of ${destination.name} already has a file ${file}`, "remove or rename it if nothing uses it"),
    ),
  ];
}

function sameNames({ vm, copies }: PreflightFacts): Check[] {
  const names = copies.map(({ target, pool }) => `${pool}/${basename(vm.disks.find((disk) => disk.target === target)?.path ?? "")}`);
  const twice = [...new Set(names.filter((one, at) => names.indexOf(one) !== at))];
  return twice.map((name) => fail("storage-pool", `two disks would become the same file ${name}`, "copy them into different pools"));
}

/** While it runs, QEMU copies what the guest sees: one image without anything below it. */
function chains({ vm, copies, kind }: PreflightFacts): Check[] {
  if (kind !== "live") return [];
  const chained = vm.disks.filter(({ target, backing }) => backing.length > 0 && copies.some((copy) => copy.target === target));
  return chained.map(({ target, backing }) =>
    pass(
      "storage",
      `disk ${target} becomes one image: ${backing.length === 1 ? "the image" : `the ${backing.length} images`} below it is copied into it, and stays where it is`,
    ),
  );
}
