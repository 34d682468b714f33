import {
  type Connection,
  type Domain,
  DomainJobType,
  DomainState,
  DomainStatsTypes,
  DomainXmlFlags,
  GetAllDomainStatsFlags,
} from "@godwit/libvirt";
import { EngineError } from "../../../model/errors.ts";
import type { BackupDisk, BackupFacts, WriteStats } from "../../../ports/backup.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { type LibvirtAccess, needDomain, unlessRefused } from "../migration/access.ts";
import { operationName } from "../migration/stats.ts";
import { describeSource, type DiskXml, parseDomain } from "../xml/index.ts";
import { type HostLook, lookAtHost, type Rooms } from "./rooms.ts";

/** Every name that a capture leaves on a host begins with it, so that leftovers are known as ours. */
export const MARK = "godwit-";

/** What a capture needs to know besides what it shows: read along, as each command on a host takes its time. */
export interface LibvirtFacts extends BackupFacts {
  readonly rooms: Rooms;
}

export async function readBackupFacts(host: LibvirtAccess, shell: HostShell, vmId: string, signal: AbortSignal): Promise<LibvirtFacts> {
  const { connection } = host;
  const { remote } = connection;
  const dom = await needDomain(connection, vmId, signal);
  const asking = Promise.all([
    remote.domainGetState({ dom, flags: 0 }, { signal }),
    remote.domainIsPersistent({ dom }, { signal }),
    checkpointNames(connection, dom, signal),
    activeJob(connection, dom, signal),
  ]);
  asking.catch(() => undefined);
  const domain = parseDomain(await remote.domainGetXmlDesc({ dom, flags: 0 }, { signal }));
  const drives = domain.disks.map((disk) => [disk, whyLeftOut(disk)] as const);
  const disks = drives.flatMap(([disk, reason]) => (reason === undefined ? [disk] : []));
  const looking = lookAtHost(shell, dom.id, disks, signal);
  const of = { connection, dom, shell, persistent: asking.then(([, persistent]) => persistent !== 0), looking };
  const reading = Promise.all(disks.map((disk) => readDisk(of, disk, signal)));
  const [{ rooms }, read, [{ state }, , checkpoints, job]] = await Promise.all([looking, reading, asking]);
  return {
    vmId,
    name: domain.name,
    state: state === DomainState.SHUTOFF || state === DomainState.CRASHED ? "off" : state === DomainState.RUNNING ? "running" : "paused",
    disks: read,
    leftOut: drives.flatMap(([disk, reason]) => (reason === undefined ? [] : [{ target: disk.target, reason }])),
    agent: domain.agent,
    ...job,
    checkpoints,
    rooms,
  };
}

function whyLeftOut(disk: DiskXml): string | undefined {
  if (disk.device !== "disk" && disk.device !== "lun") return `${disk.target} is a ${disk.device}`;
  if (disk.source === undefined) return `${disk.target} is empty`;
  if (disk.readOnly) return `${disk.target} is read-only`;
  if (disk.transient) return `${disk.target} is transient: what is written to it does not last`;
  return disk.device === "lun" ? `${disk.target} is a SCSI device that is passed through` : undefined;
}

interface Of {
  readonly connection: Connection;
  readonly dom: Domain;
  readonly shell: HostShell;
  readonly persistent: Promise<boolean>;
  readonly looking: Promise<HostLook>;
}

async function readDisk(of: Of, disk: DiskXml, signal: AbortSignal): Promise<BackupDisk> {
  const path = disk.source?.path ?? (disk.source && describeSource(disk.source));
  const [{ versions }, persistent, size] = await Promise.all([of.looking, of.persistent, sizeOf(of, disk, path, signal)]);
  // libvirt makes images of version 2 unless it is told otherwise.
  const untracked = whyUntracked(disk, persistent, disk.format === "qcow2" && versions.get(path ?? "") === 2);
  return {
    target: disk.target,
    ...size,
    format: disk.format,
    path,
    ...(untracked !== undefined && { untracked }),
  };
}

/** Of a VM that is off libvirt does not know how large its network disks are; QEMU's tools reach most by their URLs. */
async function sizeOf(
  { connection, dom, shell }: Of,
  disk: DiskXml,
  path: string | undefined,
  signal: AbortSignal,
): Promise<Pick<BackupDisk, "capacityBytes" | "allocatedBytes">> {
  const asked = connection.remote.domainGetBlockInfo({ dom, path: disk.target, flags: 0 }, { signal });
  if (disk.source?.protocol === undefined || path === undefined) {
    const { capacity, allocation } = await asked;
    return { capacityBytes: Number(capacity), allocatedBytes: Number(allocation) };
  }
  const info = await unlessRefused(asked);
  if (info) return { capacityBytes: Number(info.capacity) };
  const { code, stdout, stderr } = await shell.run(["qemu-img", "info", "-U", "--output=json", path], { signal });
  const size = code === 0 ? (JSON.parse(stdout) as { readonly "virtual-size"?: number })["virtual-size"] : undefined;
  if (size === undefined)
    throw new EngineError("hypervisor", `the size of the disk ${disk.target} (${path}) cannot be read: ${stderr.trim()}`);
  return { capacityBytes: size };
}

function whyUntracked(disk: DiskXml, persistent: boolean, old: boolean): string | undefined {
  if (disk.format !== "qcow2") {
    return `${disk.target} is ${disk.format ?? "of unknown format"}: QEMU keeps lists of changes only in qcow2 (a qcow2 wrapper with the image as its raw data file makes it possible)`;
  }
  if (old) {
    return `${disk.target} is a qcow2 image of version 2, which has no room for lists of changes: 'qemu-img amend -o compat=1.1' makes it a newer one while the VM is off`;
  }
  return persistent ? undefined : "the VM is transient: libvirt keeps checkpoints only of VMs that are defined";
}

export async function checkpointNames(connection: Connection, dom: Domain, signal: AbortSignal): Promise<string[]> {
  const listed = await unlessRefused(connection.remote.domainListAllCheckpoints({ dom, needResults: 1, flags: 0 }, { signal }));
  return (listed?.checkpoints ?? []).map(({ name }) => name);
}

/** What holds the VM: our own export by its moment, anything else by name. */
export async function activeJob(
  connection: Connection,
  dom: Domain,
  signal?: AbortSignal,
): Promise<{ readonly job?: string; readonly moment?: string }> {
  const stats = await unlessRefused(connection.remote.domainGetJobStats({ dom, flags: 0 }, { signal }));
  if (!stats || (stats.type !== DomainJobType.BOUNDED && stats.type !== DomainJobType.UNBOUNDED)) return {};
  const backup = await unlessRefused(connection.remote.domainBackupGetXmlDesc({ dom, flags: 0 }, { signal }));
  const moment = backup === undefined ? undefined : /<scratch file='[^']*\/godwit-([0-9a-z-]{1,64})-[0-9a-z]+\.scratch'/i.exec(backup)?.[1];
  return moment === undefined ? { job: operationName(stats.params) } : { moment };
}

export async function domainDefinition(connection: Connection, dom: Domain, signal: AbortSignal): Promise<string> {
  const flags = DomainXmlFlags.INACTIVE | DomainXmlFlags.SECURE | DomainXmlFlags.MIGRATABLE;
  return await connection.remote.domainGetXmlDesc({ dom, flags }, { signal });
}

/**
 * Of all its disks together, as libvirt counts: requests, and nanoseconds that they took. While another call holds the
 * domain libvirt tells without waiting what it knows by itself: no counts.
 */
export async function readWriteStats(connection: Connection, dom: Domain, signal: AbortSignal): Promise<WriteStats | undefined> {
  const query = { domains: [dom], stats: DomainStatsTypes.BLOCK, flags: GetAllDomainStatsFlags.NOWAIT };
  const [found] = await connection.getAllDomainStats(query, { signal });
  let [counted, requests, nanoseconds] = [false, 0, 0];
  for (const [name, value] of Object.entries(found?.stats ?? {})) {
    if (/^block\.\d+\.wr\.reqs$/.test(name)) [counted, requests] = [true, requests + Number(value)];
    else if (/^block\.\d+\.wr\.times$/.test(name)) nanoseconds += Number(value);
  }
  return counted ? { requests, totalMs: nanoseconds / 1e6 } : undefined;
}
