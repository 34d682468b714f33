import {
  CheckpointCreateFlags,
  CheckpointDeleteFlags,
  type Connection,
  type Domain,
  type DomainCheckpoint,
  DomainPausedReason,
  DomainState,
  isLibvirtError,
} from "@godwit/libvirt";
import type { MomentPlace } from "../../../ports/backup.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { findDomain, unlessRefused } from "../migration/access.ts";
import { endWatch } from "./abandoned.ts";
import { activeJob } from "./facts.ts";
import { thaw } from "./freeze.ts";
import { type Capturing, whenBegun } from "./pull.ts";
import { serves } from "./serve.ts";
import { escapeXml } from "../xml/edit.ts";
import { parseDomain } from "../xml/index.ts";

/** `$1` is the moment, then come folders that may hold its scratch files. */
const sweep = `${serves}${endWatch}
for file in /run/godwit-"$1"/*.pid; do serves "$file" && kill "$pid"; done
rm -rf "/run/godwit-$1"
moment=$1; shift
for folder in /var/lib/libvirt/qemu/domain-* "$@"; do
  rm -f "$folder/godwit-$moment.sock" "$folder/godwit-$moment-"*.scratch
done`;

/** `drop`: a checkpoint that goes with it. */
export async function endMoment(
  capturing: Capturing,
  vmId: string,
  place: MomentPlace,
  drop: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { host, shell, clock } = capturing;
  const { connection } = host;
  await whenBegun(place.moment, signal);
  const dom = await findDomain(connection, vmId, signal);
  if (dom) {
    const [timer, folders, { moment }] = await Promise.all([
      hasTimer(capturing, place, signal),
      diskFolders(connection, dom, signal),
      activeJob(connection, dom, signal),
    ]);
    if (timer) await thaw({ connection, dom, shell, clock, vmId, moment: place.moment });
    if (moment === place.moment) await abortExport(connection, dom, signal);
    const dropping = drop === undefined ? undefined : dropCheckpoint(connection, dom, drop, signal);
    await Promise.all([dropping, removeFiles(shell, place, folders, signal)]);
    return;
  }
  await removeFiles(shell, place, [], signal);
}

/** The timer's flag is there from before the freeze until after the thaw. */
async function hasTimer({ shell }: Capturing, { moment }: MomentPlace, signal: AbortSignal): Promise<boolean> {
  return (await shell.run(["test", "-e", `/run/godwit-${moment}.thaw`], { signal })).code === 0;
}

async function abortExport(connection: Connection, dom: Domain, signal: AbortSignal): Promise<void> {
  await unlessRefused(connection.remote.domainAbortJob({ dom }, { signal })); // it may have ended meanwhile
  const { state, reason } = await connection.remote.domainGetState({ dom, flags: 0 }, { signal });
  // Its overwritten blocks found no room: now that nobody wants them any more, its writes go through.
  if (state === DomainState.PAUSED && reason === DomainPausedReason.IOERROR)
    await unlessRefused(connection.remote.domainResume({ dom }, { signal }));
}

async function removeFiles(shell: HostShell, { moment }: MomentPlace, folders: readonly string[], signal: AbortSignal): Promise<void> {
  await shell.run(["/bin/sh", "-c", sweep, "sh", moment, ...folders], { signal });
}

async function diskFolders(connection: Connection, dom: Domain, signal: AbortSignal): Promise<string[]> {
  const xml = await unlessRefused(connection.remote.domainGetXmlDesc({ dom, flags: 0 }, { signal }));
  const paths = xml === undefined ? [] : parseDomain(xml).disks.flatMap((disk) => disk.source?.path ?? []);
  return [
    ...new Set(
      paths.filter((path) => path.startsWith("/") && !path.startsWith("/dev/")).map((path) => path.slice(0, path.lastIndexOf("/"))),
    ),
  ];
}

/**
 * Also one whose list of changes is damaged, or gone from some of the disks, and one that libvirt has forgotten (after
 * a move, or as it was killed while it made it) while the disks still hold its lists. libvirt takes no list from the
 * disks of a VM that is off: there the checkpoint stays, for the next capture of the running VM to find and remove.
 */
export async function dropCheckpoint(connection: Connection, dom: Domain, name: string, signal: AbortSignal): Promise<void> {
  const { remote } = connection;
  try {
    const checkpoint = await lookUp(connection, dom, name, signal);
    if (checkpoint) {
      const whole = await unlessRefused(remote.domainCheckpointDelete({ checkpoint, flags: 0 }, { signal }).then(() => true));
      if (whole === true) return;
    }
    if ((await remote.domainIsActive({ dom }, { signal })) === 0) return;
    if (checkpoint) await remote.domainCheckpointDelete({ checkpoint, flags: CheckpointDeleteFlags.METADATA_ONLY }, { signal });
    await dropDiskByDisk(connection, dom, name, signal);
  } catch (error) {
    if (!isLibvirtError(error, "NO_DOMAIN_CHECKPOINT", "NO_DOMAIN")) throw error;
  }
}

async function lookUp(connection: Connection, dom: Domain, name: string, signal: AbortSignal): Promise<DomainCheckpoint | undefined> {
  try {
    return await connection.remote.domainCheckpointLookupByName({ dom, name, flags: 0 }, { signal });
  } catch (error) {
    if (isLibvirtError(error, "NO_DOMAIN_CHECKPOINT")) return undefined;
    throw error;
  }
}

/**
 * libvirt deletes a checkpoint's lists of changes from all disks or from none, and only those of checkpoints that it
 * knows. What is left on single disks is reached by giving it the checkpoint again with that disk alone; of all that
 * such a text says, only the names matter for that.
 */
async function dropDiskByDisk(connection: Connection, dom: Domain, name: string, signal: AbortSignal): Promise<void> {
  const { remote } = connection;
  const { disks } = parseDomain(await remote.domainGetXmlDesc({ dom, flags: 0 }, { signal }));
  for (const { target } of disks.filter(({ format, device }) => format === "qcow2" && device === "disk")) {
    const disk = `<disk name='${escapeXml(target)}' checkpoint='bitmap' bitmap='${escapeXml(name)}'/>`;
    const xmlDesc = `<domaincheckpoint><name>${escapeXml(name)}</name><creationTime>1</creationTime><disks>${disk}</disks></domaincheckpoint>`;
    const flags = CheckpointCreateFlags.REDEFINE;
    const checkpoint = await unlessRefused(remote.domainCheckpointCreateXml({ dom, xmlDesc, flags }, { signal }));
    if (!checkpoint) continue;
    const dropped = await unlessRefused(remote.domainCheckpointDelete({ checkpoint, flags: 0 }, { signal }).then(() => true));
    if (dropped !== true) await remote.domainCheckpointDelete({ checkpoint, flags: CheckpointDeleteFlags.METADATA_ONLY }, { signal });
  }
}

function withoutParent(xml: string): string {
  return xml.replace(/<parent>[^]*?<\/parent>/, "");
}

/**
 * False when libvirt finds that the disks have not got what the checkpoint stands on. The checkpoint before it, which
 * the text may name, is gone or was forgotten like this one; the changes since this one do not depend on it.
 */
export async function redefineCheckpoint(connection: Connection, dom: Domain, xml: string, signal: AbortSignal): Promise<boolean> {
  const active = (await connection.remote.domainIsActive({ dom }, { signal })) !== 0;
  const flags = CheckpointCreateFlags.REDEFINE | (active ? CheckpointCreateFlags.REDEFINE_VALIDATE : 0);
  const xmlDesc = withoutParent(xml);
  try {
    await connection.remote.domainCheckpointCreateXml({ dom, xmlDesc, flags }, { signal });
    return true;
  } catch (error) {
    if (isLibvirtError(error)) return false;
    throw error;
  }
}
