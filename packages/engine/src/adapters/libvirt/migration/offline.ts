import {
  CheckpointCreateFlags,
  CheckpointXmlFlags,
  type Connection,
  type Domain,
  DomainSaveRestoreFlags,
  DomainUndefineFlags,
  DomainXmlFlags,
  isLibvirtError,
  SnapshotCreateFlags,
} from "@godwit/libvirt";
import { setTimeout as sleep } from "node:timers/promises";
import { EngineError } from "../../../model/errors.ts";
import type { HypervisorHost } from "../../../ports/hypervisor.ts";
import type { Carried, Mapping, OfflineMoves } from "../../../ports/offline.ts";
import { mapDefinition, withGenerationId } from "../xml/edit.ts";
import { parseCheckpointParent, parseSnapshot, parseVolume } from "../xml/index.ts";
import { findDomain, type LibvirtAccess, needDomain, saying, unlessRefused } from "./access.ts";
import { lookUpVolume } from "./copies.ts";
import { moveProgress } from "./stats.ts";
import { copyFileTo } from "./stream-copy.ts";

/** How often a save is asked how far it is, milliseconds. */
const pollMs = 100;

/** Of virDomainSaveImageGetXMLDesc and virDomainSnapshotGetXMLDesc: secrets included. */
const secure = 1;

type SaveOptions = Parameters<OfflineMoves["save"]>[2];

export function offlineMoves(host: LibvirtAccess, libvirtHost: (host: HypervisorHost) => LibvirtAccess): OfflineMoves {
  const { connection } = host;
  return {
    carried: (vmId, { signal }) => readCarried(connection, vmId, signal),
    define: (carried, mapping, { signal }) => define(connection, carried, mapping, signal),
    undefine: (vmId, { signal }) => undefine(connection, vmId, signal),
    release: (vmId, { signal }) => release(connection, vmId, signal),
    ensureGenerationId: (vmId, { signal }) => ensureGenerationId(connection, vmId, signal),
    async setAutostart(vmId, on, { signal }) {
      const dom = await needDomain(connection, vmId, signal);
      await connection.remote.domainSetAutostart({ dom, autostart: on ? 1 : 0 }, { signal });
    },
    save: (vmId, file, options) => save(host, vmId, file, options),
    restore: (file, mapping, { signal }) => restore(host, file, mapping, signal),
    writtenMark: (path, { signal }) => writtenMark(connection, path, signal),
    copyTo: (destination, copy, options) => copyFileTo(host, libvirtHost(destination), copy, options),
  };
}

async function readCarried(connection: Connection, vmId: string, signal: AbortSignal): Promise<Carried> {
  const { remote } = connection;
  const dom = await needDomain(connection, vmId, signal);
  const persistent = await remote.domainIsPersistent({ dom }, { signal });
  if (persistent === 0) throw new EngineError("conflict", `${dom.name} has no definition of its own`, { vmId });
  const flags = DomainXmlFlags.INACTIVE | DomainXmlFlags.MIGRATABLE | DomainXmlFlags.SECURE;
  const [definition, snapshots, checkpoints] = await Promise.all([
    remote.domainGetXmlDesc({ dom, flags }, { signal }),
    readSnapshots(connection, dom, signal),
    readCheckpoints(connection, dom, signal),
  ]);
  return { vmId, definition, snapshots, checkpoints };
}

async function readSnapshots({ remote }: Connection, dom: Domain, signal: AbortSignal): Promise<Carried["snapshots"]> {
  const listed = await unlessRefused(remote.domainListAllSnapshots({ dom, needResults: 1, flags: 0 }, { signal }));
  const all = await Promise.all(
    (listed?.snapshots ?? []).map(async (snap) => ({
      xml: await remote.domainSnapshotGetXmlDesc({ snap, flags: secure }, { signal }),
      current: (await remote.domainSnapshotIsCurrent({ snap, flags: 0 }, { signal })) === 1,
    })),
  );
  return rootsFirst(all, ({ xml }) => parseSnapshot(xml));
}

async function readCheckpoints({ remote }: Connection, dom: Domain, signal: AbortSignal): Promise<readonly string[]> {
  const listed = await unlessRefused(remote.domainListAllCheckpoints({ dom, needResults: 1, flags: 0 }, { signal }));
  const all = await Promise.all(
    (listed?.checkpoints ?? []).map((checkpoint) =>
      remote.domainCheckpointGetXmlDesc({ checkpoint, flags: CheckpointXmlFlags.NO_DOMAIN }, { signal }),
    ),
  );
  return rootsFirst(all, parseCheckpointParent);
}

/** libvirt takes a child only when it knows the parent. */
function rootsFirst<T>(items: readonly T[], read: (item: T) => { readonly name: string; readonly parent?: string | undefined }): T[] {
  const parents = new Map(items.map((item) => [read(item).name, read(item).parent]));
  const depth = (name: string | undefined): number => {
    let steps = 0;
    for (let at = name; at !== undefined && steps <= items.length; at = parents.get(at)) steps += 1;
    return steps;
  };
  return items.toSorted((a, b) => depth(read(a).name) - depth(read(b).name));
}

async function define(connection: Connection, carried: Carried, mapping: Mapping, signal: AbortSignal): Promise<void> {
  const { remote } = connection;
  const mapped = mapDefinition(carried.definition, mapping);
  const xml = mapping.generationId === true ? withGenerationId(mapped) : mapped;
  const dom = await remote.domainDefineXmlFlags({ xml, flags: 0 }, { signal });
  await remote.domainSetAutostart({ dom, autostart: 0 }, { signal });
  for (const { xml, current } of carried.snapshots) {
    const flags = SnapshotCreateFlags.REDEFINE | (current ? SnapshotCreateFlags.CURRENT : 0);
    await remote.domainSnapshotCreateXml({ dom, xmlDesc: mapDefinition(xml, mapping), flags }, { signal });
  }
  for (const xmlDesc of carried.checkpoints)
    await remote.domainCheckpointCreateXml({ dom, xmlDesc, flags: CheckpointCreateFlags.REDEFINE }, { signal });
}

const undefineFlags = DomainUndefineFlags.KEEP_NVRAM | DomainUndefineFlags.CHECKPOINTS_METADATA | DomainUndefineFlags.SNAPSHOTS_METADATA;

async function undefine(connection: Connection, vmId: string, signal: AbortSignal): Promise<void> {
  const dom = await findDomain(connection, vmId, signal);
  if (!dom) return;
  if (dom.id >= 0) throw new EngineError("conflict", `${dom.name} is active: its definition stays`, { vmId });
  try {
    await connection.remote.domainUndefineFlags({ dom, flags: undefineFlags }, { signal });
  } catch (error) {
    if (!isLibvirtError(error, "NO_DOMAIN")) throw error;
  }
}

async function ensureGenerationId(connection: Connection, vmId: string, signal: AbortSignal): Promise<"there" | "added" | "at-next-start"> {
  const { remote } = connection;
  const dom = await needDomain(connection, vmId, signal);
  if ((await remote.domainIsPersistent({ dom }, { signal })) === 0)
    throw new EngineError("conflict", `${dom.name} has no definition of its own that could be changed`, { vmId });
  const flags = DomainXmlFlags.INACTIVE | DomainXmlFlags.MIGRATABLE | DomainXmlFlags.SECURE;
  const before = await remote.domainGetXmlDesc({ dom, flags }, { signal });
  const xml = withGenerationId(before);
  if (xml === before) return "there";
  await remote.domainDefineXmlFlags({ xml, flags: 0 }, { signal });
  return dom.id >= 0 ? "at-next-start" : "added";
}

/** An active VM whose definition is removed runs on, and would be gone with its process: so it gets it back. */
async function release(connection: Connection, vmId: string, signal: AbortSignal): Promise<void> {
  if (!(await findDomain(connection, vmId, signal))) return;
  const carried = await readCarried(connection, vmId, signal);
  await undefine(connection, vmId, signal);
  const still = await findDomain(connection, vmId, signal);
  if (!still) return;
  await define(connection, carried, { disks: [], networks: {} }, signal);
  throw new EngineError("conflict", `${still.name} was started on its source in the same moment`, { vmId });
}

/** libvirt looks at the file itself for each description of its volume. */
async function writtenMark(connection: Connection, path: string, signal: AbortSignal): Promise<string> {
  const vol = await lookUpVolume(connection, path, signal);
  if (!vol) throw new EngineError("invalid", `${path} is in no storage pool of its host: define one for its folder`, { path });
  const { modified, allocatedBytes } = parseVolume(await connection.remote.storageVolGetXmlDesc({ vol, flags: 0 }, { signal }));
  return `${modified ?? "unknown"} ${allocatedBytes}`;
}

async function save(host: LibvirtAccess, vmId: string, file: string, { signal, progress }: SaveOptions): Promise<void> {
  const { remote } = host.connection;
  const dom = await needDomain(host.connection, vmId, signal);
  await using own = await host.openConnection({ signal });
  const ended = new AbortController();
  const saving = own.remote.domainSaveFlags({ dom, to: file, dxml: null, flags: 0 }).finally(() => ended.abort());
  const watch = async (): Promise<void> => {
    while (!ended.signal.aborted) {
      if (signal.aborted) await unlessRefused(remote.domainAbortJob({ dom }));
      const stats = await unlessRefused(remote.domainGetJobStats({ dom, flags: 0 }));
      const { memoryProcessedBytes = 0, memoryTotalBytes = 0 } = stats ? moveProgress(stats.params) : {};
      if (memoryTotalBytes > 0) progress(memoryProcessedBytes, memoryTotalBytes);
      await sleep(pollMs, undefined, { signal: ended.signal }).catch(() => undefined);
    }
  };
  const [outcome] = await Promise.allSettled([saving, watch()]);
  if (outcome.status === "fulfilled") return;
  signal.throwIfAborted();
  throw new EngineError("hypervisor", `the memory of ${dom.name} could not be saved to ${file}`, { file }, { cause: outcome.reason });
}

async function restore(host: LibvirtAccess, file: string, mapping: Mapping, signal: AbortSignal): Promise<void> {
  await using own = await host.openConnection({ signal });
  try {
    const xml = await own.remote.domainSaveImageGetXmlDesc({ file, flags: secure }, { signal });
    await own.remote.domainRestoreFlags(
      { from: file, dxml: mapDefinition(xml, mapping), flags: DomainSaveRestoreFlags.PAUSED },
      { signal },
    );
  } catch (error) {
    signal.throwIfAborted();
    throw new EngineError("hypervisor", `the memory in ${file} could not be restored: ${saying(error)}`, { file }, { cause: error });
  }
}
