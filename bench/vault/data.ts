import { execFile } from "node:child_process";
import { createCipheriv, createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import type { Extent } from "@godwit/core";

const exec = promisify(execFile);
const kib = 1 << 10;
const mib = 1 << 20;

/** How much of everything. */
export interface Scale {
  readonly imageBytes: number;
  /** Of real files in the image. */
  readonly fileBytes: number;
  readonly randomBytes: number;
  /** Of scattered 64 KiB writes on the next day, and of new files. */
  readonly changedBytes: number;
  readonly newBytes: number;
  readonly databaseBytes: number;
  readonly updatesPerDay: number;
}

export const full: Scale = {
  imageBytes: 4096 * mib,
  fileBytes: 2200 * mib,
  randomBytes: 256 * mib,
  changedBytes: 75 * mib,
  newBytes: 25 * mib,
  databaseBytes: 1024 * mib,
  updatesPerDay: 2000,
};

export const quick: Scale = {
  imageBytes: 1024 * mib,
  fileBytes: 550 * mib,
  randomBytes: 64 * mib,
  changedBytes: 19 * mib,
  newBytes: 6 * mib,
  databaseBytes: 256 * mib,
  updatesPerDay: 500,
};

/** Bytes that do not compress and are the same in every run of the bench. */
export function noise(length: number, seed: string): Buffer {
  const key = createHash("sha256").update(seed).digest();
  return createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** Numbers below `limit`, the same in every run. */
export function* numbers(limit: number, seed: string): Generator<number, never> {
  for (let i = 0; ; i += 1) {
    const block = createHash("sha512").update(`${seed} ${i}`).digest();
    for (let at = 0; at < 64; at += 8) yield Number(block.readBigUInt64LE(at) % BigInt(limit));
  }
}

/** Runs `make` unless its result is there; a result is there whole or not at all. */
async function once(path: string, make: (unfinished: string) => Promise<void>): Promise<string> {
  if (!existsSync(path)) {
    await rm(`${path}.new`, { recursive: true, force: true });
    await make(`${path}.new`);
    await rename(`${path}.new`, path);
  }
  return path;
}

/** Real program files from /usr, up to so many bytes. */
async function gatherFiles(target: string, bytes: number): Promise<void> {
  await mkdir(target);
  let left = bytes;
  for (const folder of ["bin", "lib/x86_64-linux-gnu", "share", "lib", "libexec", "include"]) {
    const from = join("/usr", folder);
    const sizes = await sizesIn(from);
    for (const entry of await readdir(from, { withFileTypes: true }).catch(() => [])) {
      const size = sizes.get(entry.name) ?? 0;
      const to = join(target, folder, entry.name);
      if (entry.isSymbolicLink() || size > left || existsSync(to)) continue;
      await mkdir(join(target, folder), { recursive: true });
      // With hard links as such: a tree of drivers that are one file would otherwise become twenty copies of it.
      await exec("cp", ["-a", join(from, entry.name), to]);
      left -= size;
      if (left < mib) return;
    }
  }
}

/** Bytes of each entry of a folder, all that is below it included. */
async function sizesIn(folder: string): Promise<Map<string, number>> {
  const { stdout } = await exec("du", ["-ab", "--max-depth=1", folder], { maxBuffer: 64 * mib }).catch(() => ({ stdout: "" }));
  const lines = stdout.split("\n").map((line) => line.split("\t"));
  return new Map(lines.map(([size, path]) => [basename(path ?? ""), Number(size)]));
}

async function copySparse(from: string, to: string): Promise<void> {
  await exec("cp", ["--sparse=always", from, to]);
}

async function makeGuest(path: string, scale: Scale): Promise<void> {
  const tree = `${path}.tree`;
  await rm(tree, { recursive: true, force: true });
  await gatherFiles(tree, scale.fileBytes);
  await writeFile(join(tree, "random"), noise(scale.randomBytes, "guest"));
  await exec("truncate", ["-s", String(scale.imageBytes), path]);
  await exec("mkfs.ext4", ["-q", "-F", "-E", "hash_seed=6d1f9be8-7d0b-4b7e-9d4b-2f4b3f3f7c11", "-d", tree, path], { maxBuffer: 64 * mib });
  await rm(tree, { recursive: true });
}

/** The next day: scattered writes of 64 KiB where there is data, and new files through the file system itself. */
async function makeNextDay(path: string, today: string, scale: Scale): Promise<void> {
  await copySparse(today, path);
  const fresh = `${path}.files`;
  await writeFile(
    fresh,
    Buffer.concat([noise(scale.newBytes / 2, "new"), (await readFile(process.execPath)).subarray(0, scale.newBytes / 2)]),
  );
  await exec("debugfs", ["-w", "-R", `write ${fresh} /fresh`, path]);
  await rm(fresh);
  await using file = await open(path, "r+");
  const block = Buffer.alloc(64 * kib);
  const places = numbers(scale.imageBytes / block.length, "day2");
  for (let written = 0, count = 0; written < scale.changedBytes; count += 1) {
    const at = places.next().value * block.length;
    await file.read(block, 0, block.length, at);
    if (block.every((byte) => byte === 0)) continue;
    // Half of it as it was: a write rarely changes all.
    noise(32 * kib, `change ${count}`).copy(block, 16 * kib);
    await file.write(block, 0, block.length, at);
    written += block.length;
  }
}

/** A database file: pages of 8 KiB with a header, rows of text and some free space. */
async function makeDatabase(path: string, scale: Scale): Promise<void> {
  await using file = await open(path, "wx");
  for (let at = 0; at < scale.databaseBytes; at += 64 * 8 * kib) {
    const pages = Array.from({ length: 64 }, (_, i) => databasePage(at / (8 * kib) + i, "first"));
    await file.write(Buffer.concat(pages));
  }
}

function databasePage(number: number, version: string): Buffer {
  const page = Buffer.alloc(8 * kib);
  const random = noise(2 * kib, `page ${number} ${version}`);
  for (let row = 0, at = 32; row < 60; row += 1, at += 120) {
    page.write(
      `${number}:${row} customer ${random.toString("hex", row * 16, row * 16 + 12)} Aurora Street, paid, ${version}`,
      at,
      "latin1",
    );
  }
  page.writeUInt32LE(number, 0);
  random.copy(page, 4, 0, 16);
  return page;
}

/** The next day of the database in place. */
async function updateDatabase(path: string, day: number, scale: Scale): Promise<void> {
  await using file = await open(path, "r+");
  const places = numbers(scale.databaseBytes / (8 * kib), `database ${day}`);
  for (let i = 0; i < scale.updatesPerDay; i += 1) {
    const page = places.next().value;
    await file.write(databasePage(page, `day ${day}`), 0, 8 * kib, page * 8 * kib);
  }
}

/** Where two images of one size differ, in blocks of 64 KiB. */
export async function changesBetween(before: string, after: string): Promise<Extent[]> {
  await using a = await open(before, "r");
  await using b = await open(after, "r");
  const { size } = await b.stat();
  const [left, right] = [Buffer.alloc(mib), Buffer.alloc(mib)];
  const changes: { offset: number; length: number; kind: "data" }[] = [];
  for (let at = 0; at < size; at += mib) {
    await Promise.all([a.read(left, 0, mib, at), b.read(right, 0, mib, at)]);
    if (left.equals(right)) continue;
    for (let from = 0; from < mib; from += 64 * kib) {
      if (left.compare(right, from, from + 64 * kib, from, from + 64 * kib) === 0) continue;
      const last = changes.at(-1);
      if (last && last.offset + last.length === at + from) last.length += 64 * kib;
      else changes.push({ offset: at + from, length: 64 * kib, kind: "data" });
    }
  }
  return changes;
}

export interface DataSets {
  readonly folder: string;
  readonly scale: Scale;
  readonly guest: string;
  readonly nextDay: string;
  /** JSON file with what changed from `guest` to `nextDay`. */
  readonly changes: string;
  readonly random: string;
  readonly mostlyEmpty: string;
  /** Of eight days, the first included. */
  readonly databases: readonly string[];
}

/** Builds what is missing of the data sets in a folder. */
export async function prepare(folder: string, scale: Scale, say: (text: string) => void): Promise<DataSets> {
  await mkdir(folder, { recursive: true });
  const at = (name: string): string => join(folder, name);
  say("building data sets");
  const guest = await once(at("guest.raw"), (path) => makeGuest(path, scale));
  const nextDay = await once(at("next-day.raw"), (path) => makeNextDay(path, guest, scale));
  const changes = await once(at("changes.json"), async (path) => {
    await writeFile(path, JSON.stringify(await changesBetween(guest, nextDay)));
  });
  const random = await once(at("random.raw"), (path) => writeFile(path, noise(scale.randomBytes, "random")));
  const mostlyEmpty = await once(at("mostly-empty.raw"), async (path) => {
    await writeFile(path, noise(16 * mib, "mostly empty"));
    await exec("truncate", ["-s", String(64 * 1024 * mib), path]);
  });
  const databases = [await once(at("database-0.raw"), (path) => makeDatabase(path, scale))];
  for (let day = 1; day <= 7; day += 1) {
    const before = databases.at(-1)!;
    const make = async (path: string): Promise<void> => {
      await exec("cp", [before, path]);
      await updateDatabase(path, day, scale);
    };
    databases.push(await once(at(`database-${day}.raw`), make));
  }
  const sets = { folder, scale, guest, nextDay, changes, random, mostlyEmpty, databases };
  for (const path of [guest, nextDay]) await warm(path);
  return sets;
}

/** Reads a file once, so that every tool finds it in the page cache. */
export async function warm(path: string): Promise<void> {
  await exec("cp", ["--sparse=never", path, "/dev/null"]).catch(() => stat(path));
}
