import {
  BlockCopyFlags,
  BlockCopyParam,
  BlockJobAbortFlags,
  type Connection,
  DomainXmlFlags,
  type StoragePool,
  type StorageVol,
  typedParams,
} from "@godwit/libvirt";
import { EngineError } from "../../../model/errors.ts";
import type { DiskCopy, DiskCopyState, DiskMoves, PoolRoom } from "../../../ports/offline.ts";
import { escapeXml, mapDefinition } from "../xml/edit.ts";
import { volumeXml } from "../xml/volume.ts";
import { parseDomain, parsePool } from "../xml/index.ts";
import { carriedOut, findDomain, type LibvirtAccess, needDomain, unlessRefused } from "./access.ts";
import { lookUpVolume } from "./copies.ts";

export function diskMoves(host: LibvirtAccess): DiskMoves {
  const { connection } = host;
  const { remote } = connection;
  return {
    pool: (name, { signal }) => readPool(connection, name, signal),
    async volumeTaken(name, volume, { signal }) {
      const pool = await unlessRefused(remote.storagePoolLookupByName({ name }, { signal }));
      return pool !== undefined && (await unlessRefused(remote.storageVolLookupByName({ pool, name: volume }, { signal }))) !== undefined;
    },
    async beginCopy(vmId, copy, { signal, bandwidthBytesPerSecond }) {
      const dom = await needDomain(connection, vmId, signal);
      await createVolume(connection, copy, signal);
      const bandwidth = bandwidthBytesPerSecond === undefined ? undefined : BigInt(bandwidthBytesPerSecond);
      const params = typedParams.encode({ [BlockCopyParam.BANDWIDTH]: bandwidth });
      const flags = BlockCopyFlags.REUSE_EXT | BlockCopyFlags.TRANSIENT_JOB;
      signal.throwIfAborted();
      await carriedOut(remote.domainBlockCopy({ dom, path: copy.target, destxml: imageXml(copy), params, flags }), signal);
    },
    copyState: (vmId, copy, { signal }) => readState(connection, vmId, copy, signal),
    async switchOver(vmId, copy, { signal }) {
      const dom = await needDomain(connection, vmId, signal);
      await remote.domainBlockJobAbort({ dom, path: copy.target, flags: BlockJobAbortFlags.PIVOT }, { signal });
    },
    async abortCopy(vmId, copy, { signal }) {
      const dom = await findDomain(connection, vmId, signal);
      if (dom) await unlessRefused(remote.domainBlockJobAbort({ dom, path: copy.target, flags: 0 }, { signal }));
    },
    convert: (copy, { signal }) => convert(host, copy, signal),
    async redefine(vmId, mapping, { signal }) {
      const dom = await needDomain(connection, vmId, signal);
      const flags = DomainXmlFlags.INACTIVE | DomainXmlFlags.MIGRATABLE | DomainXmlFlags.SECURE;
      const xml = await remote.domainGetXmlDesc({ dom, flags }, { signal });
      await remote.domainDefineXmlFlags({ xml: mapDefinition(xml, mapping), flags: 0 }, { signal });
    },
  };
}

async function readPool({ remote }: Connection, name: string, signal: AbortSignal): Promise<PoolRoom | undefined> {
  const pool = await unlessRefused(remote.storagePoolLookupByName({ name }, { signal }));
  if (!pool) return undefined;
  await unlessRefused(remote.storagePoolRefresh({ pool, flags: 0 }, { signal }));
  const [xml, info, active] = await Promise.all([
    remote.storagePoolGetXmlDesc({ pool, flags: 0 }, { signal }),
    remote.storagePoolGetInfo({ pool }, { signal }),
    remote.storagePoolIsActive({ pool }, { signal }),
  ]);
  return { name, active: active === 1, path: parsePool(xml).path, availableBytes: Number(info.available) };
}

function imageXml({ to, format }: DiskCopy): string {
  return `<disk type='file'><driver name='qemu' type='${escapeXml(format)}'/><source file='${escapeXml(to)}'/></disk>`;
}

async function createVolume({ remote }: Connection, copy: DiskCopy, signal: AbortSignal): Promise<StorageVol> {
  const pool = await remote.storagePoolLookupByName({ name: copy.pool }, { signal });
  return await carriedOut(remote.storageVolCreateXml({ pool, xml: volumeXml(copy), flags: 0 }), signal);
}

async function readState(connection: Connection, vmId: string, copy: DiskCopy, signal: AbortSignal): Promise<DiskCopyState> {
  const dom = await needDomain(connection, vmId, signal);
  const disk = parseDomain(await connection.remote.domainGetXmlDesc({ dom, flags: 0 }, { signal })).disks.find(
    (one) => one.target === copy.target,
  );
  if (disk?.source?.path === copy.to) return { phase: "switched" };
  if (disk?.mirror?.path !== copy.to) return { phase: "absent" };
  const info = await unlessRefused(connection.remote.domainGetBlockJobInfo({ dom, path: copy.target, flags: 0 }, { signal }));
  const [doneBytes, totalBytes] = [Number(info?.cur ?? 0n), Number(info?.end ?? 0n)];
  return { phase: disk.mirror.ready ? "ready" : "copying", doneBytes, totalBytes };
}

/** libvirt cannot be asked to stop it: an abort waits until the daemon is done, and then rejects. */
async function convert(host: LibvirtAccess, copy: DiskCopy, signal: AbortSignal): Promise<void> {
  await using own = await host.openConnection({ signal });
  const { remote } = own;
  const clonevol = await lookUpVolume(own, copy.from, signal);
  if (!clonevol) throw new EngineError("invalid", `${copy.from} is in no storage pool: define one for its folder`, { path: copy.from });
  const pool: StoragePool = await remote.storagePoolLookupByName({ name: copy.pool }, { signal });
  await remote.storageVolCreateXmlFrom({ pool, xml: volumeXml(copy), clonevol, flags: 0 });
  signal.throwIfAborted();
}
