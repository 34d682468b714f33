import { type Connection, type Domain, DomainJobType, DomainState, DomainXmlFlags } from "@godwit/libvirt";
import type { MovableDisk, SnapshotFacts, SourceFacts } from "../../../ports/migration.ts";
import { describeSource, type DiskXml, type DomainXml, parseDomain, parseSnapshot, parseVolume } from "../xml/index.ts";
import { findDomain, type LibvirtAccess, needDomain, unlessRefused } from "./access.ts";
import { lookUpVolume } from "./copies.ts";
import { operationName } from "./stats.ts";

const maxChain = 200;

/** What only this adapter reads of {@link SourceFacts}. */
export interface Definition {
  readonly live: DomainXml;
  /** Migratable, with secrets: what libvirt takes back as the destination's definition. */
  readonly liveXml: string;
  readonly persistentXml: string | undefined;
}

export async function readSource(host: LibvirtAccess, vmId: string, signal: AbortSignal): Promise<SourceFacts> {
  const { remote } = host.connection;
  const dom = await needDomain(host.connection, vmId, signal);
  const vm = await host.vm(vmId, { signal });
  const [liveXml, persistent, snapshots, stats, saved] = await Promise.all([
    remote.domainGetXmlDesc({ dom, flags: DomainXmlFlags.MIGRATABLE | DomainXmlFlags.SECURE }, { signal }),
    remote.domainIsPersistent({ dom }, { signal }),
    readSnapshots(host.connection, dom, signal),
    unlessRefused(remote.domainGetJobStats({ dom, flags: 0 }, { signal })),
    unlessRefused(remote.domainHasManagedSaveImage({ dom, flags: 0 }, { signal })),
  ]);
  const persistentXml =
    persistent === 0
      ? undefined
      : await remote.domainGetXmlDesc(
          { dom, flags: DomainXmlFlags.INACTIVE | DomainXmlFlags.MIGRATABLE | DomainXmlFlags.SECURE },
          { signal },
        );
  const live = parseDomain(await remote.domainGetXmlDesc({ dom, flags: 0 }, { signal }));
  const busy = stats !== undefined && (stats.type === DomainJobType.BOUNDED || stats.type === DomainJobType.UNBOUNDED);
  const definition: Definition = { live, liveXml, persistentXml };
  return {
    vm,
    disks: await Promise.all(
      live.disks.filter((disk) => disk.source !== undefined).map((disk) => readMovableDisk(host.connection, dom, disk, signal)),
    ),
    nics: live.nics.map(({ mac, type, source }) => ({ mac, type, source })),
    ties: ties(live),
    files: live.firmware.nvram === undefined ? [] : [live.firmware.nvram],
    job: busy ? operationName(stats.params) : undefined,
    snapshots,
    keptByHost: live.tpms.filter(({ backend }) => backend === "emulator").map(() => "its TPM"),
    savedMemory: saved === 1,
    definition,
  };
}

const migratable = DomainXmlFlags.MIGRATABLE | DomainXmlFlags.SECURE;

/** The definition alone. */
export async function readDefinition(connection: Connection, vmId: string, signal: AbortSignal): Promise<Definition> {
  const { remote } = connection;
  const dom = await needDomain(connection, vmId, signal);
  const [liveXml, persistent] = await Promise.all([
    remote.domainGetXmlDesc({ dom, flags: migratable }, { signal }),
    remote.domainIsPersistent({ dom }, { signal }),
  ]);
  const [live, persistentXml] = await Promise.all([
    remote.domainGetXmlDesc({ dom, flags: 0 }, { signal }),
    persistent === 0 ? undefined : remote.domainGetXmlDesc({ dom, flags: DomainXmlFlags.INACTIVE | migratable }, { signal }),
  ]);
  return { live: parseDomain(live), liveXml, persistentXml };
}

/** Whether a running VM is still as it was described, and free to go. */
export async function isUnchanged(
  connection: Connection,
  { vm, snapshots, definition }: SourceFacts,
  signal: AbortSignal,
): Promise<boolean> {
  const { remote } = connection;
  const dom = await findDomain(connection, vm.id, signal);
  if (!dom) return false;
  const [liveXml, { state }, stats, listed] = await Promise.all([
    remote.domainGetXmlDesc({ dom, flags: migratable }, { signal }),
    remote.domainGetState({ dom, flags: 0 }, { signal }),
    unlessRefused(remote.domainGetJobStats({ dom, flags: 0 }, { signal })),
    unlessRefused(remote.domainListAllSnapshots({ dom, needResults: 0, flags: 0 }, { signal })),
  ]);
  const busy = stats?.type === DomainJobType.BOUNDED || stats?.type === DomainJobType.UNBOUNDED;
  const same = liveXml === (definition as Definition).liveXml && (listed?.ret ?? 0) === snapshots.length;
  return same && !busy && (state === DomainState.RUNNING || state === DomainState.BLOCKED);
}

async function readSnapshots({ remote }: Connection, dom: Domain, signal: AbortSignal): Promise<SnapshotFacts[]> {
  const listed = await unlessRefused(remote.domainListAllSnapshots({ dom, needResults: 1, flags: 0 }, { signal }));
  return await Promise.all(
    (listed?.snapshots ?? []).map(async (snap) => parseSnapshot(await remote.domainSnapshotGetXmlDesc({ snap, flags: 0 }, { signal }))),
  );
}

/** libvirt tells the chain of a disk only while the VM runs; the pool that keeps the image knows the next one. */
async function readBacking(connection: Connection, path: string | undefined, signal: AbortSignal): Promise<string[]> {
  const chain: string[] = [];
  for (let at = path; at !== undefined && chain.length < maxChain;) {
    const vol = await lookUpVolume(connection, at, signal);
    const xml = vol && (await unlessRefused(connection.remote.storageVolGetXmlDesc({ vol, flags: 0 }, { signal })));
    at = xml === undefined ? undefined : parseVolume(xml).backingPath;
    if (at !== undefined) chain.push(at);
  }
  return chain;
}

/** What cannot follow a running guest to another machine. */
function ties(live: DomainXml): string[] {
  return [
    ...live.hostDevices.map((device) => `host device ${device.text}`),
    ...live.nics.filter((nic) => nic.passthrough).map((nic) => `passed-through network card ${nic.mac}`),
    ...live.filesystems.map((filesystem) => `host folder '${filesystem.target}'`),
    ...live.sharedMemory.map((name) => `shared memory '${name}'`),
    ...(live.launchSecurity === undefined ? [] : [`memory encryption (${live.launchSecurity})`]),
  ];
}

async function readMovableDisk(connection: Connection, dom: Domain, disk: DiskXml, signal: AbortSignal): Promise<MovableDisk> {
  const [info, job] = await Promise.all([
    unlessRefused(connection.remote.domainGetBlockInfo({ dom, path: disk.target, flags: 0 }, { signal })),
    unlessRefused(connection.remote.domainGetBlockJobInfo({ dom, path: disk.target, flags: 0 }, { signal })),
  ]);
  return {
    target: disk.target,
    device: disk.device,
    type: disk.type,
    path: disk.source?.path,
    format: disk.format,
    readOnly: disk.readOnly,
    shareable: disk.shareable,
    capacityBytes: Number(info?.capacity ?? 0n),
    backing:
      dom.id >= 0
        ? disk.backing.flatMap((source) => source.path ?? describeSource(source) ?? [])
        : await readBacking(connection, disk.source?.path, signal),
    blockJob: disk.mirror?.job ?? (job !== undefined && job.found !== 0 ? "block job" : undefined),
  };
}
