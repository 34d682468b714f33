import { type Connection, type Domain, DomainJobType, DomainXmlFlags } from "@godwit/libvirt";
import type { MovableDisk, SourceFacts } from "../../../ports/migration.ts";
import { describeSource, type DiskXml, type DomainXml, parseDomain } from "../xml/index.ts";
import { type LibvirtAccess, needDomain, unlessRefused } from "./access.ts";
import { operationName } from "./stats.ts";

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
  const [liveXml, persistent, snapshots, stats] = await Promise.all([
    remote.domainGetXmlDesc({ dom, flags: DomainXmlFlags.MIGRATABLE | DomainXmlFlags.SECURE }, { signal }),
    remote.domainIsPersistent({ dom }, { signal }),
    unlessRefused(remote.domainListAllSnapshots({ dom, needResults: 0, flags: 0 }, { signal })),
    unlessRefused(remote.domainGetJobStats({ dom, flags: 0 }, { signal })),
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
    snapshots: snapshots?.ret ?? 0,
    definition,
  };
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
    backing: disk.backing.flatMap((source) => source.path ?? describeSource(source) ?? []),
    blockJob: disk.mirror?.job ?? (job !== undefined && job.found !== 0 ? "block job" : undefined),
  };
}
