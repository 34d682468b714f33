import { type Connection, DomainXmlFlags, isLibvirtError, ListStoragePoolsFlags, type StorageVol } from "@godwit/libvirt";
import { basename, dirname, join } from "node:path";
import { EngineError } from "../../../model/errors.ts";
import type { CopyWish, MovableDisk, SourceFacts } from "../../../ports/migration.ts";
import { escapeXml } from "../xml/edit.ts";
import { parseDomain, parsePool, parseVolume } from "../xml/index.ts";
import { volumeXml } from "../xml/volume.ts";
import { carriedOut, saying, unlessRefused } from "./access.ts";

/** A disk to copy, with the image that waits for it on the destination. */
export interface Copy {
  readonly target: string;
  readonly from: string;
  readonly to: string;
}

export async function copyPathsIn(
  connection: Connection,
  source: SourceFacts,
  wishes: readonly CopyWish[],
  signal: AbortSignal,
): Promise<string[]> {
  return await Promise.all(
    wanted(source, wishes).map(async (disk) => join(await poolFolder(connection, disk.pool, signal), basename(disk.path))),
  );
}

/** Throws `invalid` for a pool that does not keep files. */
export async function poolFolder(connection: Connection, name: string, signal: AbortSignal): Promise<string> {
  const pool = await connection.remote.storagePoolLookupByName({ name }, { signal });
  const { path } = parsePool(await connection.remote.storagePoolGetXmlDesc({ pool, flags: 0 }, { signal }));
  if (path === undefined) throw new EngineError("invalid", `the storage pool '${name}' does not keep files`, { pool: name });
  return path;
}

type WantedDisk = MovableDisk & CopyWish & { readonly path: string };

function wanted(source: SourceFacts, wishes: readonly CopyWish[]): WantedDisk[] {
  return wishes.flatMap((wish) => {
    const disk = source.disks.find((one) => one.target === wish.target);
    return disk?.path === undefined ? [] : [{ ...disk, path: disk.path, pool: wish.pool }];
  });
}

/**
 * Makes an empty image for every copy, as large as its disk. When one cannot be made, those made before are
 * removed again.
 */
export async function createImages(
  connection: Connection,
  source: SourceFacts,
  wishes: readonly CopyWish[],
  signal: AbortSignal,
): Promise<Copy[]> {
  const { remote } = connection;
  const made: StorageVol[] = [];
  const copies: Copy[] = [];
  try {
    for (const disk of wanted(source, wishes)) {
      const pool = await remote.storagePoolLookupByName({ name: disk.pool }, { signal });
      const xml = volumeXml({ name: basename(disk.path), capacityBytes: disk.capacityBytes, format: disk.format ?? "raw" });
      signal.throwIfAborted();
      const making = remote.storageVolCreateXml({ pool, xml, flags: 0 });
      making.then(
        (vol) => made.push(vol),
        () => undefined,
      );
      const vol = await carriedOut(making, signal);
      copies.push({ target: disk.target, from: disk.path, to: await remote.storageVolGetPath({ vol }, { signal }) });
    }
    return copies;
  } catch (error) {
    for (const vol of made) await unlessRefused(remote.storageVolDelete({ vol, flags: 0 }));
    throw error;
  }
}

/** Deletes images by path, through the pool that knows them. Gives those that are still there, with the reason. */
export async function deleteImages(
  connection: Connection,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<{ path: string; reason: string }[]> {
  const left: { path: string; reason: string }[] = [];
  const inUse = paths.length > 0 ? await filesInUse(connection, signal) : new Set<string>();
  for (const path of paths) {
    if (inUse.has(escapeXml(path))) {
      left.push({ path, reason: "another VM of the host uses it" });
      continue;
    }
    try {
      const vol = await lookUpVolume(connection, path, signal);
      if (vol) await connection.remote.storageVolDelete({ vol, flags: 0 }, { signal });
      else if (!(await isPoolFolder(connection, dirname(path), signal))) left.push({ path, reason: "it is in no storage pool" });
    } catch (error) {
      if (!isLibvirtError(error)) throw error;
      left.push({ path, reason: saying(error) });
    }
  }
  return left;
}

/** Of a folder that is one, a file that it does not know is gone. */
async function isPoolFolder({ remote }: Connection, folder: string, signal: AbortSignal): Promise<boolean> {
  const { pools } = await remote.connectListAllStoragePools({ needResults: 1, flags: ListStoragePoolsFlags.ACTIVE }, { signal });
  const texts = await Promise.all(pools.map((pool) => unlessRefused(remote.storagePoolGetXmlDesc({ pool, flags: 0 }, { signal }))));
  return texts.some((xml) => xml !== undefined && parsePool(xml).path === folder);
}

/** As they are written in definitions. */
async function filesInUse(connection: Connection, signal: AbortSignal): Promise<Set<string>> {
  const { domains } = await connection.remote.connectListAllDomains({ needResults: 1, flags: 0 }, { signal });
  const files = await Promise.all(
    domains.map(async (dom) => {
      const text = await unlessRefused(connection.remote.domainGetXmlDesc({ dom, flags: DomainXmlFlags.SECURE }, { signal }));
      if (text === undefined) return [];
      const named = [...text.matchAll(/<source (?:file|dev)='([^']*)'/g)].map((match) => match[1] ?? "");
      return dom.id >= 0 ? named : [...named, ...(await filesBelow(connection, text, signal))];
    }),
  );
  return new Set(files.flat());
}

/** libvirt tells the chain of a disk only while the VM runs: of one that is off its pools know what is below. */
async function filesBelow({ remote }: Connection, definition: string, signal: AbortSignal): Promise<string[]> {
  const below: string[] = [];
  for (const { source } of parseDomain(definition).disks) {
    const seen = new Set<string>();
    for (let at = source?.path; at !== undefined && !seen.has(at);) {
      seen.add(at);
      const vol = await unlessRefused(remote.storageVolLookupByPath({ path: at }, { signal }));
      const xml = vol && (await unlessRefused(remote.storageVolGetXmlDesc({ vol, flags: 0 }, { signal })));
      at = xml === undefined ? undefined : parseVolume(xml).backingPath;
      if (at !== undefined) below.push(escapeXml(at));
    }
  }
  return below;
}

/** A pool that has not looked for a while does not know a file that QEMU made: ask it to look, once. */
export async function lookUpVolume(connection: Connection, path: string, signal: AbortSignal): Promise<StorageVol | undefined> {
  const { remote } = connection;
  const known = await unlessRefused(remote.storageVolLookupByPath({ path }, { signal }));
  if (known) return known;
  const { pools } = await remote.connectListAllStoragePools({ needResults: 1, flags: 2 }, { signal });
  for (const pool of pools) await unlessRefused(remote.storagePoolRefresh({ pool, flags: 0 }, { signal }));
  try {
    return await remote.storageVolLookupByPath({ path }, { signal });
  } catch (error) {
    if (isLibvirtError(error, "NO_STORAGE_VOL")) return undefined;
    throw error;
  }
}
