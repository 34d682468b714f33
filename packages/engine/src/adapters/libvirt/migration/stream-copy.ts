import { type Connection, type StorageVol, StorageVolDownloadFlags, StorageVolInfoFlags, StorageVolUploadFlags } from "@godwit/libvirt";
import { ContentDigest } from "../../../migration/content-digest.ts";
import { EngineError } from "../../../model/errors.ts";
import type { CopiedFile, FileCopy } from "../../../ports/offline.ts";
import type { LibvirtAccess } from "./access.ts";
import { lookUpVolume } from "./copies.ts";
import { volumeXml } from "../xml/volume.ts";

interface CopyOptions {
  readonly signal: AbortSignal;
  readonly progress: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Copies a file of a storage pool into a pool of another host, byte for byte and with its holes, and reads it
 * back there. The bytes pass through this process, over connections of their own: a slow reader must not hold
 * up what else is asked of a host. The new file stays where it is when the copy fails.
 */
export async function copyFileTo(
  source: LibvirtAccess,
  destination: LibvirtAccess,
  copy: FileCopy,
  options: CopyOptions,
): Promise<CopiedFile> {
  const { signal } = options;
  await using from = await source.openConnection({ signal });
  await using to = await destination.openConnection({ signal });
  const original = await needVolume(from, copy.from, signal);
  const { allocation } = await from.remote.storageVolGetInfoFlags({ vol: original, flags: StorageVolInfoFlags.GET_PHYSICAL }, { signal });
  const bytes = Number(allocation);
  const made = await createFile(to, copy, bytes, signal);
  const sent = await transfer({ from, to, original, made, bytes }, options);
  const path = await to.remote.storageVolGetPath({ vol: made }, { signal });
  const arrived = await digestOf(to, made, signal);
  if (arrived.digest !== sent.digest) {
    throw new EngineError("hypervisor", `${path} is not what was read from ${copy.from}: their checksums differ`, {
      sent: sent.digest,
      arrived: arrived.digest,
    });
  }
  return { path, bytes, dataBytes: sent.dataBytes, digest: sent.digest };
}

async function needVolume(connection: Connection, path: string, signal: AbortSignal): Promise<StorageVol> {
  const vol = await lookUpVolume(connection, path, signal);
  if (!vol) throw new EngineError("invalid", `${path} is in no storage pool of its host: define one for its folder`, { path });
  return vol;
}

/** Raw, whatever is in it: libvirt must not write a header of its own. */
async function createFile(
  { remote }: Connection,
  { pool: poolName, name }: FileCopy,
  bytes: number,
  signal: AbortSignal,
): Promise<StorageVol> {
  const pool = await remote.storagePoolLookupByName({ name: poolName }, { signal });
  const xml = volumeXml({ name, capacityBytes: bytes, format: "raw" });
  return await remote.storageVolCreateXml({ pool, xml, flags: 0 }, { signal });
}

interface Ends {
  readonly from: Connection;
  readonly to: Connection;
  readonly original: StorageVol;
  readonly made: StorageVol;
  readonly bytes: number;
}

const wholeVolume = { offset: 0n, length: 0n } as const;

async function transfer(ends: Ends, { signal, progress }: CopyOptions): Promise<{ digest: string; dataBytes: number }> {
  const digest = new ContentDigest();
  await using download = await ends.from.remote.storageVolDownload(
    { vol: ends.original, ...wholeVolume, flags: StorageVolDownloadFlags.SPARSE_STREAM },
    { signal },
  );
  await using upload = await ends.to.remote.storageVolUpload(
    { vol: ends.made, ...wholeVolume, flags: StorageVolUploadFlags.SPARSE_STREAM },
    { signal },
  );
  for await (const chunk of download.chunks({ signal })) {
    if (chunk.kind === "data") {
      digest.data(chunk.data);
      await upload.write(chunk.data, { signal });
    } else {
      digest.hole(Number(chunk.length));
      await upload.writeHole(chunk.length, { signal });
    }
    progress(digest.length, ends.bytes);
  }
  await upload.finish({ signal });
  return { digest: digest.end(), dataBytes: digest.dataBytes };
}

async function digestOf(connection: Connection, vol: StorageVol, signal: AbortSignal): Promise<{ digest: string }> {
  const digest = new ContentDigest();
  await using download = await connection.remote.storageVolDownload(
    { vol, ...wholeVolume, flags: StorageVolDownloadFlags.SPARSE_STREAM },
    { signal },
  );
  for await (const chunk of download.chunks({ signal })) {
    if (chunk.kind === "data") digest.data(chunk.data);
    else digest.hole(Number(chunk.length));
  }
  return { digest: digest.end() };
}
