import { isLibvirtError, CheckpointXmlFlags } from "@godwit/libvirt";
import { type NbdDialled, type NbdSource, openNbdSource } from "@godwit/nbd";
import { BlockError, type BlockSource, type Clock, type Extent } from "@godwit/core";
import { EngineError } from "../../../model/errors.ts";
import {
  BaseLostError,
  type BackupFacts,
  type ExportedDisk,
  type FreezeReport,
  type Moment,
  type MomentRequest,
} from "../../../ports/backup.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { type LibvirtAccess, needDomain } from "../migration/access.ts";
import { escapeXml } from "../xml/edit.ts";
import { MARK } from "./facts.ts";
import { whileFrozen } from "./freeze.ts";

export interface Capturing {
  readonly host: LibvirtAccess;
  readonly shell: HostShell;
  readonly clock: Clock;
}

/**
 * `$1` is the domain's id, then come folders of its disks. Prints the folder that libvirt made for this run of the
 * domain: QEMU may write there whatever confines it, and it vanishes with the domain. Then, a line each, folders for
 * scratch files with their free KiB.
 */
const rooms = `
own=; for folder in /var/lib/libvirt/qemu/domain-"$1"-*; do [ -d "$folder" ] && own=$folder; done
[ -n "$own" ] || { echo "libvirt keeps no folder for this VM below /var/lib/libvirt/qemu" >&2; exit 3; }
shift; echo "$own"
for folder in "$own" "$@"; do
  free=$(df -Pk "$folder" 2>/dev/null | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4) && [ -n "$free" ] && echo "$free $folder"
done`;

interface Room {
  readonly own: string;
  readonly scratch: { readonly directory: string; readonly freeBytes: number };
}

/** A moment of a running VM: libvirt's pull-mode backup, frozen where asked for. */
export async function beginPull(
  { host, shell, clock }: Capturing,
  facts: BackupFacts,
  request: MomentRequest,
  signal: AbortSignal,
): Promise<Moment> {
  const { connection } = host;
  const dom = await needDomain(connection, facts.vmId, signal);
  const room = await findRoom(shell, dom.id, facts, request.scratchBytes, signal);
  const socket = `${room.own}/${MARK}${request.moment}.sock`;
  const backupXml = pullXml(facts, request, socket, room.scratch.directory);
  const checkpointXml = checkpointXmlOf(facts, request);
  const take = async (): Promise<string> => {
    try {
      await connection.remote.domainBackupBegin({ dom, backupXml, checkpointXml: checkpointXml ?? null, flags: 0 }, { signal });
    } catch (error) {
      if (request.base !== undefined && isBaseLost(error)) throw new BaseLostError((error as Error).message, { cause: error });
      throw error;
    }
    return new Date(clock.now()).toISOString();
  };
  const freezing = { connection, dom, shell, clock, vmId: facts.vmId, moment: request.moment };
  const taken = request.freeze ? await whileFrozen(freezing, signal, take) : { value: await take(), freeze: notAsked };
  return {
    at: taken.value,
    freeze: taken.freeze,
    scratch: room.scratch,
    disks: request.disks.map(({ target, mode }) => exportedDisk({ shell, socket }, target, mode)),
    ...(checkpointXml !== undefined && { checkpointXml: await madeCheckpoint(host, facts.vmId, request.checkpoint, signal) }),
  };
}

const notAsked: FreezeReport = { outcome: "not-asked", frozenMs: 0, fileSystems: 0, text: "the guest was not asked to hold still" };

function isBaseLost(error: unknown): boolean {
  return (
    isLibvirtError(error, "CHECKPOINT_INCONSISTENT", "NO_DOMAIN_CHECKPOINT") || (isLibvirtError(error) && /bitmap/i.test(error.message))
  );
}

async function findRoom(shell: HostShell, id: number, facts: BackupFacts, needed: number, signal: AbortSignal): Promise<Room> {
  const folders = facts.disks.flatMap(({ path }) =>
    path?.startsWith("/") && !path.startsWith("/dev/") ? [path.slice(0, path.lastIndexOf("/"))] : [],
  );
  const { code, stdout, stderr } = await shell.run(["/bin/sh", "-c", rooms, "sh", `${id}`, ...new Set(folders)], { signal });
  const [own = "", ...lines] = stdout.trimEnd().split("\n");
  if (code !== 0) throw new EngineError("hypervisor", `${facts.name} cannot be captured: ${stderr.trim()}`, { vm: facts.name });
  const found = lines.flatMap((line) => {
    const match = /^(\d{1,15}) (\/.+)$/.exec(line);
    return match ? [{ directory: match[2]!, freeBytes: Number(match[1]) * 1024 }] : [];
  });
  const scratch = found.find(({ freeBytes }) => freeBytes >= needed);
  if (scratch) return { own, scratch };
  const seen = found.map(({ directory, freeBytes }) => `${directory} has ${freeBytes}`).join(", ");
  const text = `${facts.name} cannot be captured: what it overwrites meanwhile needs ${needed} bytes beside it, and ${seen}; free some space there`;
  throw new EngineError("refused", text, { vm: facts.name });
}

/** The backup's description (libvirt, formatbackup.html). Drives that are left out must be named. */
export function pullXml(facts: BackupFacts, request: MomentRequest, socket: string, directory: string): string {
  const disks = request.disks.map(({ target, mode }) => {
    const name = escapeXml(target);
    const how =
      mode === "incremental" && request.base !== undefined
        ? ` backupmode='incremental' incremental='${escapeXml(request.base)}' exportbitmap='${name}'`
        : " backupmode='full'";
    const scratch = `${directory}/${MARK}${request.moment}-${target}.scratch`;
    return `<disk name='${name}' backup='yes' type='file' exportname='${name}'${how}><scratch file='${escapeXml(scratch)}'/></disk>`;
  });
  const others = facts.leftOut.map(({ target }) => `<disk name='${escapeXml(target)}' backup='no'/>`);
  const server = `<server transport='unix' socket='${escapeXml(socket)}'/>`;
  return `<domainbackup mode='pull'>${server}<disks>${[...disks, ...others].join("")}</disks></domainbackup>`;
}

/** Undefined when no disk can have a checkpoint. */
export function checkpointXmlOf(facts: BackupFacts, { checkpoint }: MomentRequest): string | undefined {
  if (facts.disks.every(({ untracked }) => untracked !== undefined)) return undefined;
  const disks = facts.disks.map(
    ({ target, untracked }) => `<disk name='${escapeXml(target)}' checkpoint='${untracked === undefined ? "bitmap" : "no"}'/>`,
  );
  const others = facts.leftOut.map(({ target }) => `<disk name='${escapeXml(target)}' checkpoint='no'/>`);
  return `<domaincheckpoint><name>${escapeXml(checkpoint)}</name><disks>${[...disks, ...others].join("")}</disks></domaincheckpoint>`;
}

async function madeCheckpoint({ connection }: LibvirtAccess, vmId: string, name: string, signal: AbortSignal): Promise<string> {
  const dom = await needDomain(connection, vmId, signal);
  const checkpoint = await connection.remote.domainCheckpointLookupByName({ dom, name, flags: 0 }, { signal });
  return await connection.remote.domainCheckpointGetXmlDesc({ checkpoint, flags: CheckpointXmlFlags.NO_DOMAIN }, { signal });
}

export interface ExportPlace {
  readonly shell: HostShell;
  readonly socket: string;
}

/** A disk behind a Unix socket of the host, reached through its shell. */
export function exportedDisk(place: ExportPlace, target: string, mode: ExportedDisk["mode"], bitmap: string = target): ExportedDisk {
  const incremental = mode === "incremental";
  return {
    target,
    mode,
    open: ({ signal }) => openExport(place, target, incremental ? [bitmap] : [], signal),
    ...(incremental && { changed: (source, { signal }) => changesOf(source, bitmap, signal) }),
  };
}

export async function openExport(
  { shell, socket }: ExportPlace,
  exportName: string,
  dirtyBitmaps: readonly string[],
  signal: AbortSignal,
): Promise<NbdSource> {
  return await openNbdSource({ address: dialled(shell, socket), exportName, requireTls: false, tls: {} }, { signal, dirtyBitmaps });
}

/** A server behind a socket of the host. */
export function dialled(shell: HostShell, socket: string): NbdDialled {
  return {
    name: socket,
    async open(options) {
      if (!shell.openUnixSocket) throw new EngineError("invalid", "the host's shell carries no sockets: register the host with a +ssh URI");
      return await shell.openUnixSocket(socket, options);
    },
  };
}

async function* changesOf(source: BlockSource, bitmap: string, signal: AbortSignal): AsyncGenerator<Extent> {
  if (!isNbdSource(source)) throw new BlockError("unsupported", "the list of changes belongs to the export that was opened with it");
  for await (const { offset, length, kind } of source.changes(bitmap, { signal })) {
    if (kind !== "clean") yield { offset, length, kind };
  }
}

function isNbdSource(source: BlockSource): source is NbdSource {
  return "changes" in source;
}
