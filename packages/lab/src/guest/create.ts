import { randomUUID } from "node:crypto";
import { copyFile, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exists } from "../debian.ts";
import { LabError } from "../error.ts";
import type { LabHost } from "../host.ts";
import { pools } from "../host-files.ts";
import type { LabPaths } from "../paths.ts";
import { domainXml, type GuestDisk, type GuestRecord } from "./definition.ts";
import { guestImage } from "./image.ts";

export interface ExtraDisk {
  readonly sizeMiB: number;
  /** Default qcow2. */
  readonly format?: "qcow2" | "raw";
  /** Default: where the data disk is. */
  readonly storage?: "shared" | "local";
}

export interface GuestOptions {
  readonly name: string;
  readonly host: LabHost;
  /** Default 192; 160 is about the least that boots. */
  readonly memoryMiB?: number;
  /** Default 1. */
  readonly vcpus?: number;
  /** Which pool its disks are in. Default `shared`. */
  readonly disk?: "shared" | "local";
  /** The data disk, with an ext4 file system on all of it. Default 128. */
  readonly diskMiB?: number;
  /** Default qcow2. */
  readonly diskFormat?: "qcow2" | "raw";
  /** Empty ones, `vdb` and on. */
  readonly extraDisks?: readonly ExtraDisk[];
  /** Default 1. */
  readonly nics?: number;
  /** An emulated TPM. Default false. */
  readonly tpm?: boolean;
  /** Whether it writes records to its data disk. Default true. */
  readonly workload?: boolean;
  /** At most; an emulated guest on a busy machine writes fewer. Default 10. */
  readonly recordsPerSecond?: number;
  /** How many records the disk holds before the oldest are overwritten. Default 8192: about 14 minutes. */
  readonly recordSlots?: number;
  /**
   * Memory that is rewritten, so that live migration has something to do; by 1 KiB at a time it takes all of the CPU.
   * `ofMiB`, a whole number of quarters of what is written in a second, is how much memory that is: by default each
   * MiB is written once a second.
   */
  readonly dirtyMemory?: { readonly MiBPerSecond: number; readonly bytesAtATime?: number; readonly ofMiB?: number };
  readonly signal?: AbortSignal | undefined;
}

/** Makes a guest's disks and defines it; it does not start. Rejects with `exists` or `invalid`. */
export async function createGuest(paths: LabPaths, options: GuestOptions): Promise<GuestRecord> {
  const guest = guestRecord(options);
  const { host, signal = new AbortController().signal } = options;
  const file = join(paths.guests, `${guest.name}.json`);
  await writeFile(file, JSON.stringify(guest, undefined, 2), { flag: "wx" }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "EEXIST") throw cause;
    throw new LabError("exists", `a guest ${guest.name} exists already in this lab`, {}, { cause });
  });
  await bringImage(paths, signal);
  await writeFile(join(paths.acks, `${guest.name}.log`), "", { flag: "a" });
  await host.exec(["bash", "-euc", guest.disks.flatMap(diskCommands).join("\n")], { signal });
  await host.define(domainXml(guest), { signal });
  return guest;
}

/** Every guest that was created in a lab. */
export async function readGuests(paths: LabPaths): Promise<GuestRecord[]> {
  const names = (await readdir(paths.guests)).filter((name) => name.endsWith(".json")).sort();
  return Promise.all(names.map(async (name) => JSON.parse(await readFile(join(paths.guests, name), "utf8")) as GuestRecord));
}

/** What the guest will be, by its options; throws `invalid`. */
export function guestRecord(options: GuestOptions): GuestRecord {
  const { name, host } = options;
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(name)) {
    throw new LabError("invalid", `'${name}' cannot name a guest: use up to 40 small letters, digits and hyphens, a letter first`);
  }
  const memoryMiB = options.memoryMiB ?? 192;
  const dirtyMiBPerSecond = options.dirtyMemory?.MiBPerSecond ?? 0;
  const dirtyMiB = options.dirtyMemory?.ofMiB ?? dirtyMiBPerSecond;
  if (dirtyMiB * 2 + 110 > memoryMiB && dirtyMiBPerSecond > 0) {
    throw new LabError("invalid", `rewriting ${dirtyMiB} MiB takes twice that and 110 MiB of memory, more than ${memoryMiB} MiB`);
  }
  if (dirtyMiBPerSecond > 0 && (dirtyMiB * 4) % dirtyMiBPerSecond !== 0) {
    throw new LabError("invalid", `${dirtyMiB} MiB are not a whole number of quarters of ${dirtyMiBPerSecond} MiB`);
  }
  const slots = options.recordSlots ?? 8192;
  const diskMiB = options.diskMiB ?? 128;
  if (slots < 2 || slots > 999_999 || slots / 256 > diskMiB * 0.75) {
    throw new LabError("invalid", `${slots} records do not fit a disk of ${diskMiB} MiB: 192 for each MiB do`);
  }
  return {
    name,
    uuid: randomUUID(),
    home: host.name,
    memoryMiB,
    vcpus: options.vcpus ?? 1,
    disks: guestDisks(options, diskMiB),
    nics: options.nics ?? 1,
    ...(options.tpm === true && { tpm: true }),
    records: (options.workload ?? true) ? { slots, perSecond: options.recordsPerSecond ?? 10 } : undefined,
    dirtyMiBPerSecond,
    dirtyMiB,
    dirtyGrain: options.dirtyMemory?.bytesAtATime ?? 1 << 20,
  };
}

function guestDisks(options: GuestOptions, diskMiB: number): GuestDisk[] {
  const data = { sizeMiB: diskMiB, format: options.diskFormat, storage: options.disk };
  return [data, ...(options.extraDisks ?? [])].map((disk, at) => {
    const target = `vd${String.fromCharCode("a".charCodeAt(0) + at)}`;
    const format = disk.format ?? "qcow2";
    const storage = disk.storage ?? options.disk ?? "shared";
    return { target, format, storage, sizeMiB: disk.sizeMiB, path: `${pools[storage]}/${options.name}-${target}.${format}` };
  });
}

function diskCommands(disk: GuestDisk, at: number): string[] {
  if (at > 0) return [`qemu-img create -q -f ${disk.format} ${disk.path} ${disk.sizeMiB}M`];
  const raw = disk.format === "raw" ? disk.path : `/tmp/${disk.path.replaceAll("/", "-")}.raw`;
  const make = [`truncate -s ${disk.sizeMiB}M ${raw}`, `mkfs.ext4 -q -F -L data -E lazy_itable_init=1,lazy_journal_init=1 ${raw}`];
  return disk.format === "raw" ? make : [...make, `qemu-img convert -O qcow2 ${raw} ${disk.path}`, `rm ${raw}`];
}

/** Puts the guests' kernel and initrd where all hosts see them, once. */
async function bringImage(paths: LabPaths, signal: AbortSignal): Promise<void> {
  const done = join(paths.guest, "initrd");
  if (await exists(done)) return;
  const image = await guestImage(signal);
  const part = join(paths.guest, `.part-${randomUUID()}`);
  await copyFile(image.kernel, part);
  await rename(part, join(paths.guest, "vmlinuz"));
  await copyFile(image.initrd, part);
  await rename(part, done);
}
